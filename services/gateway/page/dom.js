// Builds elements. All text enters the document as text nodes; nothing here makes HTML from strings.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** An element; attributes named on... are listeners, null and false ones are left out. */
export const el = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const SHAPES = {
  check: 'M3 8.5l3.2 3.2L13 4.8',
  chevron: 'M6 3.5L10.5 8 6 12.5',
  close: 'M4 4l8 8M12 4l-8 8',
};

export const icon = (name) => svg('svg', { viewBox: '0 0 16 16', width: 16, height: 16,
  'aria-hidden': 'true', class: 'icon' }, svg('path', { d: SHAPES[name] }));

let lastId = 0;
export const newId = (stem) => `${stem}-${++lastId}`;

const UNITS = [['year', 31536e6], ['month', 2592e6], ['day', 864e5], ['hour', 36e5], ['minute', 6e4]];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const full = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** "3 hr. ago" or "in 12 days", with the exact time for whoever points at it. */
export function when(time, none = 'never') {
  if (time == null) return none;
  const date = new Date(time);
  const away = date - Date.now();
  const [unit, size] = UNITS.find(([, size]) => Math.abs(away) >= size) ?? [];
  return el('time', { datetime: date.toISOString(), title: full.format(date) },
    unit ? relative.format(Math.round(away / size), unit) : away > 0 ? 'in a moment' : 'just now');
}

const clockOfDay = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** The time of day, with the day when it is not today's. */
export function exactly(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return el('time', { datetime: date.toISOString(), title: full.format(date) },
    (today ? clockOfDay : full).format(date));
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** "a", "a and b", "a, b and c". */
export function listed(words) {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
