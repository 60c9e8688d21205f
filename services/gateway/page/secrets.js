// Secrets: list, add, replace, delete, and a .env block at once. A stored value is never shown.

import { api, each, get, segment } from './api.js';
import { el, listed, plural, when } from './dom.js';
import { parseEnv } from './dotenv.js';
import { providerLabel, providerNamed, providerOfSecret, providers, secretFor, titleOf } from './providers.js';
import { button, check, confirmed, dialog, empty, field, form, input, row, say, select, table } from './ui.js';
import { steps } from './start.js';

const put = (name, value, provider) => api('PUT', `/v1/account/secrets/${segment(name)}`,
  provider ? { value, provider } : { value });

const valueInput = (attributes) => input({ type: 'password', autocomplete: 'new-password', spellcheck: 'false',
  class: 'mono', ...attributes });

// --- add and replace ---------------------------------------------------------------------------

function replace(secret, again) {
  dialog(`Replace ${secret.name}`, (close) => form([
    el('p', {}, 'The new value takes effect at the next call. Agents keep their tokens.'),
    field('New value', valueInput({ name: 'value', required: true, autofocus: true })),
  ], 'Replace', async ({ value }) => {
    const { secret: { version } } = await put(secret.name, value.trim());
    close();
    await again();
    say(`${secret.name} is replaced; this is version ${version}.`);
  }, { cancel: close }));
}

/** The fields for what PROVIDER needs; without one, any name is free. */
function fieldsFor(provider) {
  if (!provider) {
    return [field('Name', input({ name: 'name', required: true, maxlength: 128, pattern: '[A-Za-z0-9_.\\-\\/]+',
      class: 'mono', spellcheck: 'false' }), 'Letters, digits and _ . - / as in MY_SERVICE_KEY.'),
    field('Value', valueInput({ name: 'value', required: true }))];
  }
  return [...provider.secrets.map((name) => field(name, valueInput({ name: `=${name}`, required: true }))),
    ...provider.optional_secrets.map((name) => field(`${name} (optional)`, valueInput({ name: `=${name}` })))];
}

/** The providers with a secret of their own; one that shares another's is had with that. */
const named = () => providers().filter((row) => row.secrets.length && providerOfSecret(row.secrets[0]) === row);

function add(again) {
  dialog('Add a key', (close) => {
    const fields = el('div', { class: 'stack' });
    const draw = (name) => fields.replaceChildren(...fieldsFor(providerNamed(name)));
    const choice = select([...named().map((row) => [row.name, row.title]), ['', 'Something else']],
      { name: 'provider', autofocus: true, onchange: () => draw(choice.value) });
    draw(choice.value);
    return form([field('Provider', choice), fields], 'Store', async ({ provider, name, value, ...named }) => {
      const pairs = provider ? Object.entries(named).map(([key, text]) => [key.slice(1), text]) : [[name, value]];
      const given = pairs.map(([key, text]) => [key.trim(), text.trim()]).filter(([, text]) => text);
      for (const [key, text] of given) await put(key, text, provider);
      close();
      await again();
      say(`${listed(given.map(([key]) => key))} ${given.length > 1 ? 'are' : 'is'} stored and will not be shown again.`);
    }, { cancel: close });
  });
}

// --- a .env block ------------------------------------------------------------------------------

/** What is in the block: what can be stored under which name, and what is left out and why. */
function sorted(text) {
  const known = new Map();
  const left = [];
  for (const [variable, value] of parseEnv(text)) {
    const name = secretFor(variable);
    if (!name) left.push([variable, 'no provider knows it']);
    else if (value.startsWith('seks_')) left.push([variable, "it is one of the broker's own tokens"]);
    else if (/[\r\n]/.test(value)) left.push([variable, 'it has more than one line']);
    else if (!known.has(name) || variable === name) known.set(name, { variable, value });
  }
  return { known, left };
}

function preview({ known, left }, stored) {
  const line = ([name, { variable }]) => el('li', {}, check([el('code', {}, name),
    variable === name ? null : [' from ', el('code', {}, variable)], ` \u2013 ${titleOf(providerOfSecret(name).name)}, `,
    stored.has(name) ? `replaces version ${stored.get(name).version}` : 'new'], { name, checked: true }));
  return [known.size ? el('fieldset', { class: 'plain' }, el('legend', {}, 'To be stored'),
    el('ul', { class: 'checks' }, [...known].map(line))) : null,
  left.length ? el('p', { class: 'hint' }, 'Left out: ', listed(left.map(([name, why]) => `${name} (${why})`)), '.') : null]
    .filter(Boolean);
}

function importEnv(secrets, again) {
  const stored = new Map(secrets.map((secret) => [secret.name, secret]));
  dialog('Paste a .env file', (close) => {
    let found = { known: new Map(), left: [] };
    const shown = el('div', { 'aria-live': 'polite', class: 'stack' });
    const area = el('textarea', { rows: 7, required: true, autofocus: true, autocomplete: 'off', spellcheck: 'false',
      class: 'mono', placeholder: 'OPENAI_API_KEY=sk-...\nGITHUB_TOKEN=ghp_...', oninput: () => {
        found = sorted(area.value);
        shown.replaceChildren(...preview(found, stored));
      } });
    return form([field('Lines of NAME=value', area,
      'The known keys are picked out here, in your browser; everything else stays where it is.'), shown],
    'Store the keys', async (_, node) => {
      const chosen = [...found.known].filter(([name]) => node.elements[name].checked);
      if (chosen.length === 0) throw new Error('There is no key of a known provider in it. Add one by its name instead.');
      for (const [name, { value }] of chosen) await put(name, value, providerOfSecret(name).name);
      close();
      await again();
      say(`${plural(chosen.length, 'key is', 'keys are')} stored: ${listed(chosen.map(([name]) => name))}.`);
    }, { cancel: close });
  });
}

// --- delete ------------------------------------------------------------------------------------

/** The names of the agents that a call or a reading of SECRET would fail for. */
async function usersOf(secret) {
  const { agents } = await get('/v1/account/agents');
  const lists = await each(agents, (agent) => get(`/v1/account/agents/${segment(agent.id)}/tokens`));
  const needs = (token) => token.secret === secret.name || (providers().some((provider) =>
    provider.name === token.provider && (provider.secrets.indexOf(secret.name) > 0
      || (provider.secrets[0] === secret.name && !token.secret))));
  return agents.filter((agent, i) => lists[i].tokens.some(needs)
    || (Array.isArray(agent.direct_access) && agent.direct_access.includes(secret.name)));
}

async function remove(secret, again) {
  const users = await usersOf(secret);
  const names = users.slice(0, 5).map((agent) => agent.name);
  if (users.length > 5) names.push(`${users.length - 5} more`);
  confirmed(`Delete ${secret.name}?`, [
    users.length ? `${plural(users.length, 'agent uses', 'agents use')} it: ${listed(names)}. Their calls fail until a new value is stored under this name.`
      : 'No agent uses it now.',
    'The value is erased and cannot be brought back.'], 'Delete', async () => {
    await api('DELETE', `/v1/account/secrets/${segment(secret.name)}`);
    await again();
    say(`${secret.name} is deleted.`);
  });
}

// --- the page ----------------------------------------------------------------------------------

const line = (secret, again) => row([
  ['Name', el('code', { class: 'name' }, secret.name)],
  ['Provider', providerLabel(secret.provider)],
  ['Version', String(secret.version)],
  ['Changed', when(secret.updated_at)],
  ['Last used', when(secret.last_used_at)],
  ['', [button('Replace', () => replace(secret, again), { 'aria-label': `Replace ${secret.name}` }),
    button('Delete', () => remove(secret, again), { class: 'quiet-danger', 'aria-label': `Delete ${secret.name}` })]],
]);

export async function secretsPage(again) {
  const [{ secrets }, guide] = await Promise.all([get('/v1/account/secrets'), steps()]);
  const actions = [button('Add a key', () => add(again), { class: 'primary' }),
    button('Paste a .env file', () => importEnv(secrets, again))];
  return { title: 'Secrets', guide, actions: secrets.length ? actions : [],
    lead: 'Sealed when stored and never shown again. Agents use them through the broker, without seeing them.',
    content: secrets.length
      ? table('Stored secrets', ['Name', 'Provider', 'Version', 'Changed', 'Last used', ''],
        secrets.map((secret) => line(secret, again)))
      : empty('No key is stored yet', 'Add the key of a provider, or paste a whole .env file and the known keys are found in it.', actions) };
}
