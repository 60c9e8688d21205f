// The broker's web page: a client of the /v1 calls with no powers of its own.
// All text enters the document as text nodes; nothing here builds HTML from strings.

const main = document.getElementById('main');
const nav = document.getElementById('nav');
const noticeLine = document.getElementById('notice');
let csrf = null;
let account = null;
let providers = [];
let liveTimer = null;
let viewNumber = 0;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(2).filter((child) => child != null));
  return node;
}

function notice(text, bad = false) {
  noticeLine.textContent = text;
  noticeLine.className = bad ? 'bad' : '';
}

const ADVICE = {
  409: 'Choose another name.',
  429: 'Wait a moment, then try again.',
  503: 'Part of the broker is away. Try again in a few seconds.',
};

async function api(method, path, body) {
  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (csrf && method !== 'GET') headers['X-CSRF-Token'] = csrf;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error('The broker does not answer. Check that it runs, then try again.');
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && account) {
    account = csrf = null;
    showLogin();
    throw new Error('Your session has ended. Log in again.');
  }
  const error = new Error([answer.error ?? `The broker answered ${response.status}.`,
    ADVICE[response.status]].filter(Boolean).join(' '));
  error.status = response.status;
  throw error;
}

// Runs a handler of the user's; what goes wrong is said in the notice line.
function act(work) {
  return async (event) => {
    event?.preventDefault();
    const button = event?.submitter ?? event?.currentTarget;
    if (button?.tagName === 'BUTTON') button.disabled = true;
    try {
      notice('');
      await work(event);
    } catch (error) {
      notice(error.message, true);
    } finally {
      if (button?.tagName === 'BUTTON') button.disabled = false;
    }
  };
}

const field = (text, attributes) => el('label', {}, text, el('input', attributes));
const button = (text, work, attributes) =>
  el('button', { type: 'button', onclick: act(work), ...attributes }, text);
const values = (event) => Object.fromEntries(new FormData(event.target));
const when = (time) => (time == null ? 'never'
  : new Date(typeof time === 'number' ? time * (time < 1e11 ? 1000 : 1) : time).toLocaleString());
const id = encodeURIComponent;

function table(caption, heads, rows) {
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    el('table', {}, el('caption', {}, caption),
      el('thead', {}, el('tr', {}, heads.map((head) => el('th', { scope: 'col' }, head)))),
      el('tbody', {}, rows)));
}
const row = (cells, attributes) => el('tr', attributes, cells.map((cell) => el('td', {}, cell ?? '')));

function show(title, ...children) {
  clearInterval(liveTimer);
  document.title = `${title} - SEKS Broker`;
  main.replaceChildren(el('h1', {}, title), ...children.flat().filter(Boolean));
  nav.hidden = !account;
  for (const link of nav.children) {
    if (location.hash.startsWith(link.hash)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function copyable(label, text) {
  return el('div', {}, el('h3', {}, label), el('pre', { tabindex: 0 }, text),
    button(`Copy ${label}`, async () => {
      await navigator.clipboard.writeText(text);
      notice('Copied.');
    }));
}

// --- log in ------------------------------------------------------------------------------------

function credentialsForm(text, path, autocomplete) {
  return el('form', { onsubmit: act(async (event) => {
    const answer = await api('POST', path, values(event));
    ({ account, csrf } = answer);
    if (location.hash === '#/secrets') await route();
    else location.hash = '#/secrets';
  }) },
  el('h2', {}, text),
  field('Email', { name: 'email', type: 'email', required: true, autocomplete: 'username' }),
  field('Password', { name: 'password', type: 'password', required: true, autocomplete }),
  el('button', {}, text));
}

function showLogin() {
  show('Welcome', el('p', {}, 'Your keys stay here. Agents get tokens that work only through the broker.'),
    credentialsForm('Log in', '/v1/session', 'current-password'),
    credentialsForm('Sign up', '/v1/account', 'new-password'));
}

// --- secrets -----------------------------------------------------------------------------------

const putSecret = (name, value, provider) =>
  api('PUT', `/v1/account/secrets/${id(name)}`, provider ? { value, provider } : { value });
const providerOf = (name) => providers.find((provider) => provider.secrets.includes(name));

// The variables of a .env block: NAME=value, optionally exported and quoted; comments are skipped.
export function parseEnv(text) {
  const found = [];
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (!match) continue;
    const quoted = /^(["'])(.*)\1(?:\s+#.*)?$/.exec(match[2]);
    const value = quoted ? quoted[2] : match[2].replace(/\s+#.*$/, '');
    if (value) found.push([match[1], value]);
  }
  return found;
}

function steps(secrets, agents, used) {
  if (used) return null;
  const step = (done, text, hash) => el('li', { class: done ? 'done' : null },
    done ? '\u2713 Done: ' : '', el('a', { href: hash }, text));
  return el('section', {}, el('h2', {}, 'First steps'), el('ol', {},
    step(secrets.length > 0, 'Add a key', '#/secrets'),
    step(agents.length > 0, 'Make an agent', '#/agents'),
    step(used, 'Copy its settings', agents[0] ? `#/agents/${id(agents[0].id)}` : '#/agents')));
}

async function showSecrets(fresh) {
  const [{ secrets }, { agents }] = await Promise.all(
    [api('GET', '/v1/account/secrets'), api('GET', '/v1/account/agents')]);
  const lists = await Promise.all(agents.map((agent) =>
    api('GET', `/v1/account/agents/${id(agent.id)}/tokens`)));
  if (!fresh()) return;
  const tokens = lists.flatMap((list) => list.tokens);
  const usersOf = (secret) => new Set(tokens.filter((token) =>
    token.secret === secret.name || providerOf(secret.name)?.name === token.provider)
    .map((token) => token.agent)).size;
  const names = providers.flatMap((provider) => provider.secrets);
  show('Secrets', steps(secrets, agents, tokens.length > 0),
    table('Stored secrets', ['Name', 'Provider', 'Version', 'Changed', 'Actions'],
      secrets.map((secret) => row([secret.name, secret.provider, String(secret.version),
        when(secret.updated_at),
        button('Delete', async () => {
          const count = usersOf(secret);
          if (!confirm(`Delete ${secret.name}? Agents that use it: ${count}.`)) return;
          await api('DELETE', `/v1/account/secrets/${id(secret.name)}`);
          await route();
          notice(`${secret.name} is deleted.`);
        }, { class: 'danger', 'aria-label': `Delete ${secret.name}` })]))),
    el('h2', {}, 'Add or replace a secret'),
    el('form', { onsubmit: act(async (event) => {
      const { name, value } = values(event);
      await putSecret(name.trim(), value, providerOf(name.trim())?.name);
      await route();
      notice(`${name.trim()} is stored. Its value is never shown again.`);
    }) },
    field('Name', { name: 'name', required: true, list: 'names', autocomplete: 'off', maxlength: 128 }),
    el('datalist', { id: 'names' }, names.map((name) => el('option', { value: name }))),
    field('Value', { name: 'value', type: 'password', required: true, autocomplete: 'off' }),
    el('button', {}, 'Store')),
    el('h2', {}, 'Import a .env block'),
    el('form', { onsubmit: act(async (event) => {
      const known = parseEnv(values(event).block).filter(([name]) => providerOf(name));
      if (known.length === 0) throw new Error('No known key is in this block. Add it by name above.');
      for (const [name, value] of known) await putSecret(name, value, providerOf(name).name);
      await route();
      notice(`Stored: ${known.map(([name]) => name).join(', ')}.`);
    }) },
    el('label', {}, 'Lines of NAME=value',
      el('textarea', { name: 'block', required: true, autocomplete: 'off', spellcheck: 'false' })),
    el('button', {}, 'Import')));
}

// --- agents ------------------------------------------------------------------------------------

async function showAgents(fresh) {
  const { agents } = await api('GET', '/v1/account/agents');
  if (!fresh()) return;
  show('Agents',
    table('Your agents', ['Name', 'Made', 'Last seen'], agents.map((agent) => row([
      el('a', { href: `#/agents/${id(agent.id)}` }, agent.name), when(agent.created_at),
      when(agent.last_seen_at)]))),
    el('h2', {}, 'Make an agent'),
    el('form', { onsubmit: act(async (event) => {
      const { agent, token } = await api('POST', '/v1/account/agents', values(event));
      main.append(once('Agent token', token),
        el('p', {}, el('a', { href: `#/agents/${id(agent.id)}` }, `Go on to ${agent.name}`)));
      notice(`${agent.name} is made.`);
    }) },
    field('Name', { name: 'name', required: true, maxlength: 128, autocomplete: 'off' }),
    el('button', {}, 'Make')));
}

const once = (label, text) => el('section', { class: 'once' },
  el('h2', {}, 'Copy it now: it is not shown again'), copyable(label, text));

function settings(provider, value, baseUrl) {
  const fill = (text) => text.replaceAll('{base_url}', baseUrl).replaceAll('{token}', value);
  const variables = (provider?.secrets ?? []).map((name, i) =>
    `export ${name}='${i === 0 ? value : 'any'}'`);
  return el('section', { class: 'once' },
    el('h2', {}, 'Copy it now: the token is not shown again'),
    copyable('token', value), copyable('base URL', baseUrl),
    variables.length ? copyable('environment', variables.join('\n')) : null,
    provider?.example ? copyable('example', fill(provider.example)) : null);
}

async function showAgent(fresh, agentId) {
  const path = `/v1/account/agents/${id(agentId)}`;
  const [{ agent }, { tokens }] = await Promise.all(
    [api('GET', path), api('GET', `${path}/tokens`)]);
  if (!fresh()) return;
  const shown = el('div', {});
  const reveal = async (answer) => {
    await route();
    main.append(settings(providers.find((p) => p.name === answer.token.provider), answer.value,
      answer.base_url));
  };
  const access = Array.isArray(agent.direct_access) ? 'list' : String(agent.direct_access);
  show(agent.name, shown,
    table('Proxy tokens', ['Provider', 'Ends with', 'Expires', 'Last used', 'Actions'],
      tokens.map((token) => row([token.provider, token.last4, when(token.expires_at),
        when(token.last_used_at), [
          button('Renew', async () => reveal(await api('POST', `${path}/tokens/${id(token.id)}/renew`)),
            { 'aria-label': `Renew ${token.provider} ${token.last4}` }), ' ',
          button('Delete', async () => {
            if (!confirm(`Delete this ${token.provider} token? It stops working at once.`)) return;
            await api('DELETE', `${path}/tokens/${id(token.id)}`);
            await route();
          }, { class: 'danger', 'aria-label': `Delete ${token.provider} ${token.last4}` })]]))),
    el('h2', {}, 'Make a token'),
    el('form', { onsubmit: act(async (event) => {
      const { provider, days } = values(event);
      await reveal(await api('POST', `${path}/tokens`,
        days ? { provider, expires_in: Number(days) * 86400 } : { provider }));
    }) },
    el('label', {}, 'Provider', el('select', { name: 'provider' },
      providers.map((provider) => el('option', { value: provider.name }, provider.name)))),
    field('Days until it expires (empty: never)', { name: 'days', type: 'number', min: 1, max: 3650 }),
    el('button', {}, 'Make token')),
    el('h2', {}, 'Direct access'),
    el('p', {}, 'Off unless you need it: an agent that can read a key can be talked into printing it.'),
    el('form', { onsubmit: act(async (event) => {
      const { access: choice, names } = values(event);
      await api('PATCH', path, { direct_access: choice === 'list'
        ? names.split(',').map((name) => name.trim()).filter(Boolean) : choice === 'true' });
      notice('Direct access is changed.');
    }) },
    el('label', {}, 'This agent may read', el('select', { name: 'access' },
      [['false', 'no secret'], ['list', 'only these secrets'], ['true', 'every secret']].map(
        ([value, text]) => el('option', { value, selected: value === access }, text)))),
    field('Names, separated by commas', { name: 'names',
      value: access === 'list' ? agent.direct_access.join(', ') : '' }),
    el('button', {}, 'Change')),
    el('h2', {}, 'Agent token'),
    button('Renew agent token', async () => {
      const { token } = await api('POST', `${path}/token`);
      shown.replaceChildren(once('agent token', token));
    }), ' ',
    button('Delete agent', async () => {
      if (!confirm(`Delete ${agent.name} and its ${tokens.length} tokens?`)) return;
      await api('DELETE', path);
      location.hash = '#/agents';
    }, { class: 'danger' }));
}

// --- activity ----------------------------------------------------------------------------------

const COLUMNS = ['time', 'kind', 'action', 'agent', 'provider', 'method', 'path', 'decision',
  'reason', 'status'];

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

// A cell that begins like a formula is kept from being one.
const csvCell = (value) =>
  `"${String(value ?? '').replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;

async function showActivity(fresh) {
  let records = [];
  let next = null;
  let filters = {};
  const body = el('tbody', {});
  const fill = () => body.replaceChildren(...records.map((record) => row(
    COLUMNS.map((column) => (column === 'time' ? when(record.time) : String(record[column] ?? ''))),
    { class: record.kind === 'denied' ? 'denied' : null })));
  const load = async (before) => {
    const query = new URLSearchParams({ ...filters, limit: '50', ...(before ? { before } : {}) });
    const answer = await api('GET', `/v1/account/audit?${query}`);
    records = before ? records.concat(answer.records) : answer.records;
    next = answer.next;
    more.hidden = next == null;
    fill();
  };
  const more = button('Older', () => load(next));
  const listing = table('Records, newest first', COLUMNS, []);
  listing.querySelector('tbody').replaceWith(body);
  await load();
  if (!fresh()) return;
  show('Activity',
    el('form', { class: 'row', onsubmit: act(async (event) => {
      filters = Object.fromEntries(Object.entries(values(event)).filter(([, value]) => value));
      await load();
    }) },
    field('Agent id', { name: 'agent' }), field('Provider', { name: 'provider' }),
    field('Action', { name: 'action' }), el('button', {}, 'Filter')),
    el('label', { class: 'check' }, el('input', { type: 'checkbox', onchange: (event) => {
      clearInterval(liveTimer);
      if (event.target.checked) liveTimer = setInterval(act(() => load()), 3000);
    } }), 'Live'),
    listing, more, ' ',
    button('Export JSON lines', async () => download('audit.jsonl', 'application/jsonl',
      records.map((record) => `${JSON.stringify(record)}\n`).join(''))), ' ',
    button('Export CSV', async () => download('audit.csv', 'text/csv',
      [COLUMNS, ...records.map((record) => COLUMNS.map((column) => record[column]))]
        .map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join(''))));
}

// --- account and routes ------------------------------------------------------------------------

async function showAccount() {
  show('Account', el('p', {}, `You are ${account.email}.`),
    el('form', { onsubmit: act(async (event) => {
      await api('POST', '/v1/account/password', values(event));
      account = csrf = null;
      showLogin();
      notice('The password is changed and every session is ended. Log in again.');
    }) },
    el('h2', {}, 'Change password'),
    field('Old password', { name: 'old', type: 'password', required: true, autocomplete: 'current-password' }),
    field('New password', { name: 'new', type: 'password', required: true, autocomplete: 'new-password' }),
    el('button', {}, 'Change password')),
    el('h2', {}, 'Log out'),
    button('Log out', async () => {
      await api('DELETE', '/v1/session');
      account = csrf = null;
      showLogin();
    }));
}

const ROUTES = [
  [/^#\/agents\/(.+)$/, showAgent], [/^#\/agents$/, showAgents],
  [/^#\/activity$/, showActivity], [/^#\/account$/, showAccount], [/^/, showSecrets],
];

async function route() {
  if (!account) return showLogin();
  const mine = ++viewNumber;
  const [pattern, view] = ROUTES.find(([pattern]) => pattern.test(location.hash));
  const argument = pattern.exec(location.hash)[1];
  await view(() => mine === viewNumber, argument && decodeURIComponent(argument));
  main.focus();
}

window.addEventListener('hashchange', () => act(route)());
act(async () => {
  ({ providers } = await api('GET', '/v1/providers'));
  try {
    ({ account, csrf } = await api('GET', '/v1/account'));
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  await route();
})();
