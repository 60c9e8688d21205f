// The three steps of a new account, which tick themselves off.

import { get, segment, session } from './api.js';
import { el, icon } from './dom.js';

const key = () => `seks.started.${session.account.id}`;

async function progress() {
  const [{ secrets }, { agents }] = await Promise.all(
    [get('/v1/account/secrets'), get('/v1/account/agents')]);
  let token = false;
  for (const agent of agents.slice(0, 5)) {
    token ||= (await get(`/v1/account/agents/${segment(agent.id)}/tokens`)).tokens.length > 0;
  }
  return [secrets.length > 0, agents.length > 0, token || agents.length > 5, agents[0]];
}

/** The panel, or null once all is done. */
export async function steps() {
  if (localStorage.getItem(key())) return null;
  const [hasSecret, hasAgent, hasToken, agent] = await progress();
  if (hasSecret && hasAgent && hasToken) {
    localStorage.setItem(key(), '1');
    return null;
  }
  const list = [
    [hasSecret, 'Add a key', 'Store a provider key, or paste your .env file.', '#/secrets', 'Go to Secrets'],
    [hasAgent, 'Make an agent', 'Name the program that may use it.', '#/agents', 'Go to Agents'],
    [hasToken, 'Copy its settings', 'Give it a token and paste two lines.',
      agent ? `#/agents/${segment(agent.id)}` : '#/agents', 'Go to its page'],
  ];
  const current = list.findIndex(([done]) => !done);
  return el('section', { class: 'steps', 'aria-labelledby': 'steps-title' },
    el('h2', { id: 'steps-title' }, 'Three steps to a working agent'),
    el('ol', {}, list.map(([done, title, text, href, go], i) =>
      el('li', { class: done ? 'done' : i === current ? 'current' : null, 'aria-current': i === current ? 'step' : null },
        el('span', { class: 'step-mark', 'aria-hidden': 'true' }, done ? icon('check') : String(i + 1)),
        el('div', {}, el('p', { class: 'step-title' }, title, done ? el('span', { class: 'off' }, ' (done)') : null),
          el('p', {}, text),
          i === current && location.hash !== href ? el('a', { href }, go) : null)))));
}
