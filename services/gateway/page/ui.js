// The page's few parts: notices, forms, dialogs, tabs, and text to copy.

import { el, icon, newId } from './dom.js';

const statusLine = document.getElementById('status');
const alertLine = document.getElementById('alert');
let hiding = 0;

export function quiet() {
  clearTimeout(hiding);
  statusLine.replaceChildren();
  alertLine.replaceChildren();
}

/** Says that something went well; it goes away by itself. */
export function say(text) {
  quiet();
  statusLine.append(el('p', { class: 'notice good' }, text));
  hiding = setTimeout(quiet, 8000);
}

/** Says what failed and what to do; stays until the next thing happens. */
export function complain(failure, again) {
  quiet();
  const text = failure.what ? [el('strong', {}, failure.what), ' ', failure.next] : [failure.message];
  alertLine.append(el('div', { class: 'notice bad' }, el('p', {}, text),
    again ? button('Try again', again) : null,
    el('button', { type: 'button', class: 'bare', 'aria-label': 'Dismiss', onclick: quiet }, icon('close'))));
}

/** A listener around WORK: its button is off meanwhile, its failure is told. */
export function act(work, tell = complain) {
  return async (event) => {
    event?.preventDefault();
    const pressed = event?.submitter ?? event?.currentTarget;
    const isButton = pressed?.tagName === 'BUTTON';
    if (isButton) {
      if (pressed.getAttribute('aria-disabled') === 'true') return;
      pressed.setAttribute('aria-disabled', 'true');
    }
    try {
      quiet();
      await work(event);
    } catch (error) {
      if (error.constructor !== Error && !error.what) console.error(error); // not one of the page's own sentences
      tell(error);
    } finally {
      if (isButton) pressed.removeAttribute('aria-disabled');
    }
  };
}

export const button = (text, work, attributes) =>
  el('button', { type: 'button', onclick: act(work), ...attributes }, text);

/** A labelled control; HINT is read with it. */
export function field(label, control, hint) {
  const id = control.id || newId('f');
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
  return el('div', { class: 'field' }, el('label', { for: id }, label), control,
    hint ? el('p', { class: 'hint', id: `${id}-hint` }, hint) : null);
}

export const input = (attributes) => el('input', { type: 'text', autocomplete: 'off', ...attributes });

/** OPTIONS are [value, text] pairs. */
export const select = (options, attributes, chosen) => el('select', attributes,
  options.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));

export const check = (label, attributes) =>
  el('label', { class: 'check' }, el('input', { type: 'checkbox', ...attributes }), el('span', {}, label));

/** A form that tells its failures in itself. WORK gets the fields' values and the form. */
export function form(content, submit, work, { danger = false, cancel = null, cls = '' } = {}) {
  const error = el('p', { class: 'form-error', role: 'alert' });
  const tell = (failure) => { error.textContent = failure.message; };
  const node = el('form', { class: cls, onsubmit: act(async (event) => {
    error.textContent = '';
    await work(Object.fromEntries(new FormData(event.target)), event.target);
  }, tell) }, content, error, el('div', { class: 'actions' },
    el('button', { class: danger ? 'danger' : 'primary' }, submit),
    cancel ? el('button', { type: 'button', onclick: cancel }, 'Cancel') : null));
  return node;
}

/** A modal dialog; BUILD gets a function that closes it and returns the content. */
export function dialog(title, build) {
  const id = newId('d');
  const box = el('dialog', { 'aria-labelledby': id });
  const close = () => box.close();
  box.append(el('div', { class: 'dialog-head' }, el('h2', { id }, title),
    el('button', { type: 'button', class: 'bare', 'aria-label': 'Close', onclick: close }, icon('close'))));
  box.append(...[build(close)].flat());
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
  box.querySelector('[autofocus], .primary, .actions [type=button]')?.focus(); // rather Cancel than what cannot be undone
}

/** Asks before WORK is done; CONSEQUENCES are paragraphs. */
export function confirmed(title, consequences, submit, work) {
  dialog(title, (close) => form(consequences.map((text) => el('p', {}, text)), submit, async () => {
    await work();
    close();
  }, { danger: true, cancel: close }));
}

async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el('textarea', { class: 'off' }); // without https there is only the old way
  area.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('The browser did not let the page copy. Select the text and copy it yourself.');
}

export function copyButton(label, text) {
  const node = el('button', { type: 'button', class: 'copy', 'aria-label': `Copy ${label}`, onclick: act(async () => {
    await toClipboard(typeof text === 'function' ? text() : text);
    node.textContent = 'Copied';
    say(`Copied ${label}.`);
    setTimeout(() => { node.textContent = 'Copy'; }, 2000);
  }) }, 'Copy');
  return node;
}

/** Text to copy, as a block. */
export const copyable = (label, text) => el('div', { class: 'code' },
  el('pre', { tabindex: 0, role: 'group', 'aria-label': label }, el('code', {}, text)), copyButton(label, text));

/** One line of text to copy, with its name beside it. */
export const copyLine = (label, text) => el('div', { class: 'copy-line' },
  el('span', { class: 'label' }, label), el('code', {}, text), copyButton(label, text));

/** Tabs (the pattern of the ARIA Authoring Practices); ITEMS are [title, build] pairs. */
export function tabs(label, items) {
  const stem = newId('t');
  const panel = el('div', { role: 'tabpanel', id: `${stem}-panel` });
  const list = el('div', { role: 'tablist', 'aria-label': label });
  const choose = (index, focus) => {
    [...list.children].forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `${stem}-${index}`);
    panel.replaceChildren(...[items[index][1]()].flat());
    if (focus) list.children[index].focus();
  };
  const move = { ArrowRight: 1, ArrowLeft: -1 };
  list.append(...items.map(([title], i) => el('button', { type: 'button', role: 'tab', id: `${stem}-${i}`,
    'aria-controls': `${stem}-panel`, onclick: () => choose(i), onkeydown: (event) => {
      if (!(event.key in move)) return;
      event.preventDefault();
      choose((i + move[event.key] + items.length) % items.length, true);
    } }, title)));
  choose(0);
  return el('div', { class: 'tabs' }, list, panel);
}

/** A table that becomes a stack of cards where it is narrow; roles stay said. */
export function table(caption, heads, rows) {
  return el('table', { role: 'table' }, el('caption', { class: 'off' }, caption),
    el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, heads.map((head) =>
      el('th', { role: 'columnheader', scope: 'col' }, head || el('span', { class: 'off' }, 'Actions'))))),
    el('tbody', { role: 'rowgroup' }, rows));
}

/** CELLS are [heading, content] pairs. */
export const row = (cells, attributes) => el('tr', { role: 'row', ...attributes },
  cells.map(([head, content]) => el('td', { role: 'cell', 'data-head': head || null, class: head ? null : 'row-actions' },
    el('div', {}, content))));

export const empty = (title, text, ...more) => el('div', { class: 'empty' },
  el('p', { class: 'empty-title' }, title), el('p', {}, text), more.length ? el('div', { class: 'actions' }, more) : null);
