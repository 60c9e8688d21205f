// Log in and sign up.

import { api, session } from './api.js';
import { el, svg } from './dom.js';
import { field, form, input, tabs } from './ui.js';

const seen = () => localStorage.getItem('seks.seen');

async function enter(path, fields, done) {
  try {
    const { account, csrf } = await api('POST', path, fields);
    Object.assign(session, { account, csrf });
  } catch (failure) {
    if (failure.status === 401) {
      throw new Error('The email or the password is wrong. Check both, then try again.');
    }
    throw failure;
  }
  localStorage.setItem('seks.seen', '1');
  await done();
}

const credentials = (submit, path, autocomplete, hint, done) => form([
  field('Email', input({ name: 'email', type: 'email', required: true, autocomplete: 'username',
    inputmode: 'email', spellcheck: 'false', maxlength: 200 })),
  field('Password', input({ name: 'password', type: 'password', required: true, autocomplete,
    minlength: autocomplete === 'new-password' ? 8 : null }), hint),
], submit, (fields) => enter(path, fields, done));

const box = (x, y, width, cls, label, text) => [
  svg('rect', { x, y, width, height: 58, rx: 8, class: cls }),
  svg('text', { x: x + width / 2, y: y + 24, class: 'pic-name' }, label),
  svg('text', { x: x + width / 2, y: y + 43, class: 'pic-key' }, text)];

/** Who holds what, in one picture. */
const picture = () => svg('svg', { viewBox: '0 0 480 112', class: 'picture', role: 'img',
  'aria-label': 'The agent holds a fake token; the broker puts the real key in; the provider sees only the real key.' },
box(1, 27, 118, 'pic-box', 'Agent', 'seks_\u2026'), svg('path', { d: 'M125 56h42m-7-5l7 5-7 5', class: 'pic-arrow' }),
box(173, 27, 134, 'pic-box pic-broker', 'Broker', 'fake \u2192 real'),
svg('path', { d: 'M313 56h42m-7-5l7 5-7 5', class: 'pic-arrow' }), box(361, 27, 118, 'pic-box', 'Provider', 'sk-\u2026'));

/** The page for whoever is not logged in; DONE runs once somebody is. */
export function welcome(done) {
  const signUp = ['Sign up', () => credentials('Sign up', '/v1/account', 'new-password', 'At least 8 characters.', done)];
  const logIn = ['Log in', () => credentials('Log in', '/v1/session', 'current-password', null, done)];
  return el('div', { class: seen() ? 'welcome returning' : 'welcome' },
    el('div', { class: 'pitch' },
      el('h1', {}, 'Bring your own keys. Everything just works.'),
      el('p', { class: 'lead' }, 'An agent that holds an API key can be talked into printing it. ',
        'Here the keys stay with the broker; agents get tokens that work only through it, and every call is written down.'),
      picture()),
    el('section', { class: 'card', 'aria-label': 'Log in or sign up' },
      tabs('Log in or sign up', seen() ? [logIn, signUp] : [signUp, logIn])));
}
