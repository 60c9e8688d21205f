// One agent: its provider tokens with their settings, what it may read raw, its own token.

import { api, get, segment } from './api.js';
import { el, plural, when } from './dom.js';
import { hasKey, providerLabel, providerNamed, providers, titleOf } from './providers.js';
import { accessText, agentPath, takeFresh } from './agents.js';
import { button, check, complain, confirmed, copyLine, dialog, empty, field, form, input, row, say, select, table } from './ui.js';
import { revealed, settings, testIt, together } from './settings.js';
import { steps } from './start.js';

/** Values made since the page was loaded, by the token's id: for "Settings" and "Test it". They are
 * nowhere but here, and gone with the page. */
const values = new Map();
export const forgetValues = () => values.clear();

const tokenOf = (answer) => ({ provider: providerNamed(answer.token.provider) ?? unknown(answer.token.provider),
  baseUrl: answer.base_url, value: answer.value });
const unknown = (name) => ({ name, title: name, env: {}, snippets: {}, test_path: '', secrets: [] });

// --- what is shown once ------------------------------------------------------------------------

function keep(answer) {
  values.set(answer.token.id, answer);
  return tokenOf(answer);
}

function onceOnly(title, content) {
  const heading = el('h2', { tabindex: -1 }, title);
  return el('section', { class: 'once', 'aria-label': title }, heading,
    el('p', { class: 'once-note' }, 'Copy it now: a token is shown this once. The broker keeps only its fingerprint; if it is lost, renew it.'), content);
}

function freshly({ agentToken, tokens, failures }) {
  const made = tokens.map(keep);
  if (failures.length) complain(new Error(`Not every token was made. ${failures.join(' ')}`));
  const own = agentToken && el('details', {}, el('summary', {}, "The agent's own token"),
    el('p', {}, 'For the broker\u2019s own calls (listing secrets, reading one that you allow). SDKs do not need it.'),
    copyLine('Agent token', agentToken));
  if (made.length === 0) return onceOnly('The agent is made', copyLine('Agent token', agentToken));
  if (made.length === 1) return onceOnly(`Settings for ${titleOf(made[0].provider.name)}`, [revealed(made[0]), own]);
  return onceOnly('Settings', [el('h3', {}, 'All together'), together(made),
    made.map((token) => el('details', {}, el('summary', {}, titleOf(token.provider.name)), revealed(token))), own]);
}

// --- provider tokens ---------------------------------------------------------------------------

const LIFETIMES = [['', 'Never'], ['3600', 'In an hour'], ['86400', 'In a day'], ['604800', 'In a week'],
  ['2592000', 'In 30 days'], ['7776000', 'In 90 days'], ['other', 'Another number of days']];

function makeToken(view) {
  const stored = new Set(view.secrets.map((secret) => secret.name));
  const ready = (provider) => hasKey(provider, stored);
  const rows = [...providers()].sort((a, b) => ready(b) - ready(a));
  dialog('Make a token', (close) => {
    const days = field('Days', input({ name: 'days', type: 'number', min: 1, max: 3650, value: 14 }));
    days.hidden = true;
    const lifetime = select(LIFETIMES, { name: 'lifetime', onchange: () => { days.hidden = lifetime.value !== 'other'; } });
    return form([
      field('Provider', select(rows.map((provider) => [provider.name, ready(provider) ? provider.title
        : `${provider.title} (no key stored yet)`]), { name: 'provider', autofocus: true })),
      field('Expires', lifetime, 'Renewing gives it the same time again.'), days,
      field('Key', select([['', 'The provider\u2019s usual one'], ...view.secrets.map(({ name }) => [name, name])], { name: 'secret' }),
        'Another stored secret, if this agent is to use a key of its own.'),
    ], 'Make token', async ({ provider, lifetime: seconds, days: count, secret }) => {
      const wanted = seconds === 'other' ? Number(count) * 86400 : Number(seconds);
      const answer = await api('POST', `${view.path}/tokens`,
        { provider, ...(wanted ? { expires_in: wanted } : {}), ...(secret ? { secret } : {}) });
      close();
      await view.again({ tokens: [answer], failures: [] });
    }, { cancel: close });
  });
}

/** Settings of a token; its value is asked for when this page does not know it any more. */
function showSettings(token) {
  const provider = providerNamed(token.provider) ?? unknown(token.provider);
  const known = values.get(token.id);
  const baseUrl = known?.base_url ?? provider.base_url ?? `${location.origin}/api/${token.provider}`;
  dialog(`Settings for ${titleOf(token.provider)}`, () => {
    const shown = el('div', { class: 'stack' });
    const draw = (value) => shown.replaceChildren(
      settings({ provider, baseUrl, value: value || `<the token ending in ${token.last4}>` }),
      value ? testIt({ provider, baseUrl, value }) : '');
    draw(known?.value);
    if (known) return shown;
    const value = input({ type: 'password', class: 'mono', autocomplete: 'off', oninput: () => draw(value.value.trim()) });
    return [field('Token', value,
      `Its value was shown when it was made and is not kept. Paste the one ending in ${token.last4} to fill it in and to test it, or renew it.`), shown];
  });
}

function renew(token, view) {
  confirmed(`Renew the ${titleOf(token.provider)} token?`, [
    `The one ending in ${token.last4} stops working at once; the agent needs the new one.`], 'Renew', async () => {
    const answer = await api('POST', `${view.path}/tokens/${segment(token.id)}/renew`);
    await view.again({ tokens: [answer], failures: [] });
  });
}

function removeToken(token, view) {
  confirmed(`Delete the ${titleOf(token.provider)} token?`, [
    `The one ending in ${token.last4} stops working at once. Calls with it are refused and written down.`], 'Delete', async () => {
    await api('DELETE', `${view.path}/tokens/${segment(token.id)}`);
    await view.again();
    say('The token is deleted.');
  });
}

function expiry(token) {
  if (token.expires_at && new Date(token.expires_at) <= Date.now()) return el('strong', { class: 'bad' }, 'expired');
  return when(token.expires_at);
}

function tokenLine(token, view) {
  const named = `${titleOf(token.provider)} token ending in ${token.last4}`;
  return row([
    ['Provider', [providerLabel(token.provider), token.secret ? el('span', { class: 'under' }, 'with ', el('code', {}, token.secret)) : null]],
    ['Token', el('code', {}, `\u2026${token.last4}`)],
    ['Expires', expiry(token)],
    ['Last used', when(token.last_used_at)],
    ['', [button('Settings', () => showSettings(token), { 'aria-label': `Settings and test of the ${named}` }),
      button('Renew', () => renew(token, view), { 'aria-label': `Renew the ${named}` }),
      button('Delete', () => removeToken(token, view), { class: 'quiet-danger', 'aria-label': `Delete the ${named}` })]],
  ]);
}

const plain = (name) => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

function tokensSection(view) {
  const make = button('Make a token', () => makeToken(view), { class: view.tokens.length ? null : 'primary' });
  return el('section', { 'aria-labelledby': 'tokens-title' },
    el('div', { class: 'section-head' }, el('h2', { id: 'tokens-title' }, 'Provider tokens'), view.tokens.length ? make : null),
    view.tokens.length
      ? [table('Provider tokens', ['Provider', 'Token', 'Expires', 'Last used', ''], view.tokens.map((token) => tokenLine(token, view))),
      el('p', { class: 'hint' }, 'The command needs none of it: ', el('code', {}, `seks run ${plain(view.agent.name)} -- python agent.py`),
        ' starts a program with tokens of its own in its environment.')]
      : empty('No token yet', 'A token lets this agent call one provider, with the key put in by the broker.', make));
}

// --- direct access -----------------------------------------------------------------------------

function accessSection(view) {
  const { agent, secrets } = view;
  const chosen = Array.isArray(agent.direct_access) ? agent.direct_access : [];
  const names = [...new Set([...secrets.map((secret) => secret.name), ...chosen])];
  const now = agent.direct_access === true ? 'all' : chosen.length ? 'some' : 'off';
  const boxes = el('div', { class: 'checks columns indent', role: 'group', 'aria-label': 'Secrets that it may read' }, names.length
    ? names.map((name) => check(el('code', {}, name), { name: 'names', value: name, checked: chosen.includes(name) }))
    : el('p', { class: 'hint' }, 'No secret is stored yet.'));
  boxes.hidden = now !== 'some';
  const option = (value, title, text) => el('label', { class: 'option' },
    el('input', { type: 'radio', name: 'access', value, checked: now === value, onchange: () => { boxes.hidden = value !== 'some'; } }),
    el('span', {}, el('strong', {}, title), el('span', { class: 'option-text' }, text)));
  return el('section', { 'aria-labelledby': 'access-title' }, el('h2', { id: 'access-title' }, 'Direct access'),
    el('p', {}, 'Whether this agent may read the values of secrets themselves, with its own token. It seldom needs to: calls through the broker work without.'),
    form(el('fieldset', { class: 'plain' }, el('legend', { class: 'off' }, 'This agent may read'),
      option('off', 'Off', 'Recommended. An agent that can read a key can be talked into printing it.'),
      option('some', 'Chosen secrets', 'For a tool that cannot be pointed at the broker. Every reading is written down.'), boxes,
      option('all', 'All secrets', 'Also those that are stored later. Only for programs that you trust like yourself.')),
    'Save', async ({ access }, node) => {
      const list = [...node.querySelectorAll('[name=names]:checked')].map((box) => box.value);
      if (access === 'some' && list.length === 0) throw new Error('Choose at least one secret, or switch it off.');
      await api('PATCH', view.path, { direct_access: access === 'all' ? true : access === 'some' ? list : false });
      await view.again();
      say(`Direct access of ${agent.name}: ${accessText(access === 'all' ? true : access === 'some' ? list : false)}.`);
    }, { cls: 'access' }));
}

// --- the agent itself --------------------------------------------------------------------------

function rename(view) {
  dialog(`Rename ${view.agent.name}`, (close) => form(
    field('Name', input({ name: 'name', required: true, maxlength: 64, value: view.agent.name, autofocus: true })),
    'Rename', async ({ name }) => {
      await api('PATCH', view.path, { name: name.trim() });
      close();
      await view.again();
    }, { cancel: close }));
}

function renewAgent(view) {
  confirmed('Renew the agent token?', ['The present one stops working at once. Provider tokens are not touched.'], 'Renew', async () => {
    const { token } = await api('POST', `${view.path}/token`);
    await view.again({ agentOnly: token });
  });
}

function removeAgent(view) {
  confirmed(`Delete ${view.agent.name}?`, [
    view.tokens.length ? `Its ${plural(view.tokens.length, 'token')} and its agent token stop working at once.` : 'Its agent token stops working at once.',
    'What it did stays in the activity.'], 'Delete', async () => {
    await api('DELETE', view.path);
    location.hash = '#/agents';
  });
}

const ownSection = (view) => el('section', { 'aria-labelledby': 'own-title' }, el('h2', { id: 'own-title' }, 'Agent token'),
  el('p', {}, 'Names the agent to the broker\u2019s own calls: ', el('code', {}, '/v1/secrets/list'), ', ',
    el('code', {}, '/v1/secrets/get'), ' and ', el('code', {}, '/v1/proxy/request'), '. SDKs use the provider tokens above.'),
  el('div', { class: 'actions' }, button('Renew agent token', () => renewAgent(view))));

export async function agentPage(again, id) {
  const path = agentPath(id);
  const [{ agent }, { tokens }, { secrets }, guide] = await Promise.all(
    [get(path), get(`${path}/tokens`), get('/v1/account/secrets'), steps()]);
  const made = takeFresh(id);
  const shown = el('div', { class: 'shown' }, made ? freshly(made) : null);
  const view = { path, agent, tokens, secrets, again: async (news) => {
    await again();
    if (!news) return;
    const section = news.agentOnly ? onceOnly('The new agent token', copyLine('Agent token', news.agentOnly)) : freshly(news);
    document.querySelector('.shown').replaceChildren(section);
    section.scrollIntoView({ block: 'start' });
    section.querySelector('h2').focus();
  } };
  return { title: agent.name, back: ['#/agents', 'Agents'], guide,
    actions: [el('a', { class: 'button', href: `#/activity?agent=${segment(agent.id)}` }, 'Activity'),
      button('Rename', () => rename(view)), button('Delete', () => removeAgent(view), { class: 'quiet-danger' })],
    lead: ['Made ', when(agent.created_at), ', last seen ', when(agent.last_seen_at), '.'],
    content: [shown, tokensSection(view), accessSection(view), ownSection(view)] };
}
