// The account: password, keys for the command and for automation, log out, delete.

import { api, get, segment, session } from './api.js';
import { el, when } from './dom.js';
import { button, confirmed, copyLine, dialog, empty, field, form, input, row, say, table } from './ui.js';

const password = (name, autocomplete, attributes) =>
  input({ name, type: 'password', required: true, autocomplete, ...attributes });

const passwordForm = () => form([
  field('Present password', password('old', 'current-password')),
  field('New password', password('new', 'new-password', { minlength: 8 }), 'At least 8 characters. Every other session ends.'),
], 'Change password', async (fields) => {
  const { email } = session.account;
  try {
    await api('POST', '/v1/account/password', fields);
  } catch (failure) {
    if (failure.status === 401 && session.account) throw new Error('The present password is wrong. Nothing was changed.');
    throw failure;
  }
  // The change has ended this session; a new one begins with the new password.
  const { account, csrf } = await api('POST', '/v1/session', { email, password: fields.new });
  Object.assign(session, { account, csrf });
  say('The password is changed. Every other session has ended.');
}, { cls: 'narrow' });

function makeKey(again) {
  dialog('Make an account key', (close) => form(
    field('Name', input({ name: 'name', required: true, maxlength: 64, autofocus: true, placeholder: 'laptop' })),
    'Make key', async ({ name }) => {
      const { key } = await api('POST', '/v1/account/keys', { name: name.trim() });
      close();
      await again();
      dialog('Copy the key now', () => [
        el('p', {}, 'It is shown this once. Whoever has it can do all that you can do here.'), copyLine('Account key', key)]);
    }, { cancel: close }));
}

const keyLine = (key, again) => row([
  ['Name', el('span', { class: 'name' }, key.name)],
  ['Key', el('code', {}, `\u2026${key.last4}`)],
  ['Made', when(key.created_at)],
  ['Last used', when(key.last_used_at)],
  ['', button('Delete', () => confirmed(`Delete the key ${key.name}?`, ['It stops working at once.'], 'Delete', async () => {
    await api('DELETE', `/v1/account/keys/${segment(key.id)}`);
    await again();
    say('The key is deleted.');
  }), { class: 'quiet-danger', 'aria-label': `Delete the key ${key.name}` })]]);

function keysSection(keys, again) {
  const make = button('Make a key', () => makeKey(again));
  return el('section', { 'aria-labelledby': 'keys-title' },
    el('div', { class: 'section-head' }, el('h2', { id: 'keys-title' }, 'Account keys'), keys.length ? make : null),
    el('p', {}, 'For the ', el('code', {}, 'seks'), ' command and for automation, in place of email and password.'),
    keys.length ? table('Account keys', ['Name', 'Key', 'Made', 'Last used', ''], keys.map((key) => keyLine(key, again)))
      : empty('No account key', 'The command makes its own when you log in with it.', make));
}

function removeAccount(left) {
  dialog('Delete this account?', (close) => form([
    el('p', {}, 'Every secret, agent and token is erased, and every agent stops working at once. Nothing of it can be brought back.'),
    field('Password', password('password', 'current-password', { autofocus: true })),
  ], 'Delete everything', async (fields) => {
    try {
      await api('DELETE', '/v1/account', fields);
    } catch (failure) {
      if (failure.status === 401 && session.account) throw new Error('The password is wrong. Nothing was deleted.');
      throw failure;
    }
    close();
    left('The account is deleted.');
  }, { danger: true, cancel: close }));
}

/** LEFT is called with a sentence once nobody is logged in any more. */
export async function accountPage(again, left) {
  const { keys } = await get('/v1/account/keys');
  return { title: 'Account', lead: ['Logged in as ', el('strong', {}, session.account.email), '.'],
    actions: [button('Log out', async () => {
      await api('DELETE', '/v1/session');
      left('You are logged out.');
    })],
    content: [
      el('section', { 'aria-labelledby': 'password-title' }, el('h2', { id: 'password-title' }, 'Password'), passwordForm()),
      keysSection(keys, again),
      el('section', { 'aria-labelledby': 'delete-title' }, el('h2', { id: 'delete-title' }, 'Delete account'),
        el('p', {}, 'Erases the keys of your secrets first, then everything else.'),
        el('div', { class: 'actions' }, button('Delete account', () => removeAccount(left), { class: 'quiet-danger' })))] };
}
