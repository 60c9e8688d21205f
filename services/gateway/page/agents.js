// Agents: the list, and making one together with its tokens.

import { api, each, get, segment } from './api.js';
import { el, when } from './dom.js';
import { hasKey, mark, providers, titleOf } from './providers.js';
import { button, check, dialog, empty, field, form, input, row, table } from './ui.js';
import { steps } from './start.js';

export const agentPath = (id) => `/v1/account/agents/${segment(id)}`;
export const agentHash = (id) => `#/agents/${segment(id)}`;

/** What was made and is shown once, kept for the page that the agent's address leads to. */
const fresh = new Map();
export function takeFresh(id) {
  const made = fresh.get(id);
  fresh.delete(id);
  return made;
}

async function create(name, chosen) {
  const { agent, token } = await api('POST', '/v1/account/agents', { name });
  const made = { agentToken: token, tokens: [], failures: [] };
  fresh.set(agent.id, made);
  for (const provider of chosen) {
    try {
      made.tokens.push(await api('POST', `${agentPath(agent.id)}/tokens`, { provider }));
    } catch (failure) {
      made.failures.push(`${titleOf(provider)}: ${failure.message}`);
    }
  }
  location.hash = agentHash(agent.id);
}

function make(secrets) {
  const stored = new Set(secrets.map((secret) => secret.name));
  const ready = providers().filter((provider) => hasKey(provider, stored));
  dialog('Make an agent', (close) => form([
    field('Name', input({ name: 'name', required: true, maxlength: 64, autofocus: true, placeholder: 'coder' }),
      'What you will know it by, here and in the activity.'),
    ready.length
      ? el('fieldset', { class: 'plain' }, el('legend', {}, 'It may call'),
        el('div', { class: 'checks columns' }, ready.map((provider) =>
          check(provider.title, { name: 'providers', value: provider.name, checked: ready.length === 1 }))))
      : el('p', { class: 'hint' }, 'No provider key is stored yet, so it cannot call one. Tokens can be made later on its page.'),
  ], 'Make agent', async ({ name }, node) => {
    const boxes = [...node.querySelectorAll('[name=providers]:checked')];
    await create(name.trim(), boxes.map((box) => box.value));
    close();
  }, { cancel: close }));
}

export const accessText = (access) => (access === true ? 'All secrets'
  : Array.isArray(access) && access.length ? access.join(', ') : 'Off');

function line(agent, marks) {
  return row([
    ['Name', el('a', { href: agentHash(agent.id), class: 'name' }, agent.name)],
    ['May call', marks],
    ['Direct access', el('span', { class: agent.direct_access === false ? 'muted' : null }, accessText(agent.direct_access))],
    ['Last seen', when(agent.last_seen_at)],
    ['Made', when(agent.created_at)],
  ]);
}

/** Fills each agent's cell in when its tokens are known; the list does not wait for them. */
async function fillMarks(agents, cells) {
  await each(agents, async (agent) => {
    const { tokens } = await get(`${agentPath(agent.id)}/tokens`);
    const names = [...new Set(tokens.map((token) => token.provider))];
    cells.get(agent.id).replaceChildren(...(names.length
      ? names.map((name) => el('span', { class: 'provider' }, mark(name), el('span', {}, titleOf(name))))
      : [el('span', { class: 'muted' }, 'No token yet')]));
  });
}

export async function agentsPage() {
  const [{ agents }, { secrets }, guide] = await Promise.all(
    [get('/v1/account/agents'), get('/v1/account/secrets'), steps()]);
  const cells = new Map(agents.map((agent) => [agent.id, el('span', { class: 'marks' }, '\u2026')]));
  fillMarks(agents, cells).catch(() => {}); // the cells stay empty; the agent's page tells more
  const action = button('Make an agent', () => make(secrets), { class: 'primary' });
  return { title: 'Agents', guide, actions: agents.length ? [action] : [],
    lead: 'Programs that may use your keys. Each has tokens of its own, which you can take back at any time.',
    content: agents.length
      ? table('Your agents', ['Name', 'May call', 'Direct access', 'Last seen', 'Made'],
        agents.map((agent) => line(agent, cells.get(agent.id))))
      : empty('No agent yet', 'Make one for each program, so that you see who did what and can stop one alone.', action) };
}
