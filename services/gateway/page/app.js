// The broker's web page: a client of the /v1 calls with no powers of its own. This file has the
// frame, the addresses, and who is logged in.

import { Failure, get, session } from './api.js';
import { el, icon } from './dom.js';
import { complain, quiet, say } from './ui.js';
import { loadProviders } from './providers.js';
import { welcome } from './welcome.js';
import { secretsPage } from './secrets.js';
import { agentsPage } from './agents.js';
import { agentPage, forgetValues } from './agent.js';
import { activityPage } from './activity.js';
import { accountPage } from './account.js';

const main = document.getElementById('main');
const nav = document.getElementById('nav');

const ROUTES = [
  [/^#\/agents\/([^/?]+)$/, '#/agents', (again, id) => agentPage(again, id)],
  [/^#\/agents$/, '#/agents', (again) => agentsPage(again)],
  [/^#\/activity(?:\?(.*))?$/, '#/activity', (_, text, signal) => activityPage(new URLSearchParams(text), signal)],
  [/^#\/account$/, '#/account', (again) => accountPage(again, left)],
  [/^/, '#/secrets', (again) => secretsPage(again)],
];

let shown = new AbortController();
let address = null;

function frame(current) {
  nav.hidden = !session.account;
  for (const link of nav.children) {
    if (link.hash === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function put(...content) {
  main.replaceChildren(...content);
  main.removeAttribute('aria-busy');
}

function draw({ title, lead, back, actions = [], guide, content }) {
  document.title = `${title} \u2013 SEKS Broker`;
  put(el('div', { class: 'page-head' },
    el('div', {}, back ? el('a', { class: 'back', href: back[0] }, icon('chevron'), back[1]) : null,
      el('h1', { tabindex: -1 }, title), lead ? el('p', { class: 'lead' }, lead) : null),
    actions.length ? el('div', { class: 'actions' }, actions) : null),
  ...[guide, content].flat().filter(Boolean));
}

function showWelcome() {
  shown.abort();
  document.title = 'SEKS Broker';
  for (const box of document.querySelectorAll('dialog')) box.close();
  frame(null);
  put(welcome(start));
}

function left(sentence) {
  session.account = session.csrf = null;
  forgetValues();
  showWelcome();
  say(sentence);
}

session.ended = (failure) => {
  forgetValues();
  showWelcome();
  complain(failure);
};

/** Shows what the address names. AGAIN draws the same anew after a change. */
async function route(moved = true) {
  if (!session.account) return showWelcome();
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const [pattern, section, page] = ROUTES.find(([candidate]) => candidate.test(location.hash));
  const argument = pattern.exec(location.hash)[1];
  main.setAttribute('aria-busy', 'true');
  try {
    const view = await page(() => route(false), section === '#/agents' && argument ? decodeURIComponent(argument) : argument, signal);
    if (signal.aborted) return undefined;
    frame(section);
    draw(view);
  } catch (failure) {
    if (signal.aborted || !session.account) return undefined;
    frame(section);
    lost(failure);
  }
  // Only a move to another page takes the focus; a redrawn one leaves it as near as it can.
  if (moved && address !== location.hash) {
    if (address !== null && address.split('?')[0] !== location.hash.split('?')[0]) {
      main.querySelector('h1')?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    address = location.hash;
  } else if (!document.activeElement || document.activeElement === document.body) {
    main.querySelector('h1')?.focus({ preventScroll: true });
  }
  return undefined;
}

function lost(failure) {
  if (!(failure instanceof Failure)) console.error(failure);
  const title = failure.status === 404 ? 'Not found' : 'Not loaded';
  document.title = `${title} \u2013 SEKS Broker`;
  put(el('div', { class: 'page-head' }, el('h1', { tabindex: -1 }, title)),
    el('div', { class: 'empty' }, el('p', { class: 'empty-title' }, failure.what ?? failure.message), el('p', {}, failure.next ?? ''),
      el('div', { class: 'actions' }, el('button', { type: 'button', class: 'primary', onclick: () => start() }, 'Try again'))));
}

/** At the beginning, and after a log-in. */
async function start() {
  quiet();
  try {
    await loadProviders();
    if (!session.account) {
      const { account, csrf } = await get('/v1/account');
      Object.assign(session, { account, csrf });
    }
  } catch (failure) {
    if (failure.status === 401) return showWelcome();
    return lost(failure);
  }
  if (!/^#\//.test(location.hash)) history.replaceState(null, '', '#/secrets');
  address = null;
  return route();
}

addEventListener('hashchange', () => {
  quiet();
  for (const box of document.querySelectorAll('dialog')) box.close();
  route();
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
start();
