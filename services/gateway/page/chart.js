// Calls over time: a strip of bars for each provider, stacked by what came of the calls. Drawn as
// SVG; the same figures follow as a table.

import { el, newId, plural, svg } from './dom.js';
import { titleOf } from './providers.js';
import { outcomeOf } from './records.js';

const KINDS = [['fine', 'answered'], ['failed', 'failed'], ['denied', 'denied']];
const STEPS = [1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 604800].map((seconds) => seconds * 1000);
const STRIPS = 6;
const HEIGHT = 34;
const GAP = 10;

/** Where there is little room the drawing has less in it, not smaller letters. */
export const narrow = matchMedia('(max-width: 44rem)');
const form = () => (narrow.matches ? { width: 340, left: 96, right: 28, bars: 30, letters: 13 }
  : { width: 720, left: 108, right: 44, bars: 48, letters: 16 });

const axisText = (time, span) => new Intl.DateTimeFormat('en-GB', span > 864e5
  ? { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }
  : { hour: '2-digit', minute: '2-digit', second: span < 3e5 ? '2-digit' : undefined }).format(time);

/** {from, step, strips: [{name, total, bars: [{fine, failed, denied}]}]}; null without calls. */
export function counted(entries, bars) {
  const calls = entries.filter((entry) => entry.action === 'call' && outcomeOf(entry) !== 'open');
  if (calls.length === 0) return null;
  const times = calls.map((entry) => new Date(entry.time).getTime());
  const last = Math.max(...times);
  const first = Math.min(...times);
  const step = STEPS.find((size) => (last - first) / size < bars - 1) ?? STEPS.at(-1);
  const to = (Math.floor(last / step) + 1) * step;
  const from = to - bars * step;
  const totals = new Map();
  calls.forEach((entry) => totals.set(entry.provider ?? '?', (totals.get(entry.provider ?? '?') ?? 0) + 1));
  const names = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const shown = names.length > STRIPS ? [...names.slice(0, STRIPS - 1), null] : names; // null: the rest
  const strips = shown.map((name) => ({ name, total: 0, bars: Array.from({ length: bars }, () => ({ fine: 0, failed: 0, denied: 0 })) }));
  calls.forEach((entry, i) => {
    const strip = strips.find(({ name }) => name === (entry.provider ?? '?')) ?? strips.at(-1);
    const bar = strip.bars[Math.floor((times[i] - from) / step)];
    if (!bar) return; // longer ago than the longest strip
    bar[outcomeOf(entry)] += 1;
    strip.total += 1;
  });
  return { from, to, step, strips };
}

const stripTitle = (strip) => (strip.name === null ? 'Others' : titleOf(strip.name));

function barsOf(strip, y, most, { width: all, left, right }) {
  const width = (all - left - right) / strip.bars.length;
  return strip.bars.flatMap((bar, i) => {
    let top = y + HEIGHT;
    return KINDS.filter(([kind]) => bar[kind]).map(([kind]) => {
      const height = Math.max(2, (bar[kind] / most) * HEIGHT);
      top -= height;
      return svg('rect', { x: (left + i * width + 1).toFixed(1), y: top.toFixed(1), width: (width - 2).toFixed(1),
        height: height.toFixed(1), class: `bar-${kind}` });
    });
  });
}

function drawing(data, title, shape) {
  const { width, left, right, letters } = shape;
  const most = Math.max(1, ...data.strips.flatMap((strip) => strip.bars.map((bar) => bar.fine + bar.failed + bar.denied)));
  const bottom = data.strips.length * (HEIGHT + GAP);
  const span = data.to - data.from;
  const mark = (at, anchor) => svg('text', { x: left + (width - left - right) * at, y: bottom + 14, 'text-anchor': anchor,
    class: 'axis' }, axisText(data.from + span * at, span));
  return svg('svg', { viewBox: `0 0 ${width} ${bottom + 20}`, role: 'img', 'aria-labelledby': title },
    svg('defs', {}, svg('pattern', { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
      svg('rect', { width: 5, height: 5, class: 'hatch-back' }), svg('rect', { width: 2, height: 5, class: 'hatch-line' }))),
    data.strips.map((strip, i) => {
      const y = i * (HEIGHT + GAP);
      return svg('g', {}, svg('text', { x: 0, y: y + HEIGHT - 4, class: 'strip-name' }, stripTitle(strip).slice(0, letters)),
        svg('line', { x1: left, x2: width - right, y1: y + HEIGHT + 0.5, y2: y + HEIGHT + 0.5, class: 'base' }),
        barsOf(strip, y, most, shape),
        svg('text', { x: width, y: y + HEIGHT - 4, 'text-anchor': 'end', class: 'strip-total' }, String(strip.total)));
    }), mark(0, 'start'), mark(0.5, 'middle'), mark(1, 'end'));
}

const sum = (strip, kind) => strip.bars.reduce((total, bar) => total + bar[kind], 0);

function figures(data) {
  return el('details', {}, el('summary', {}, 'The same as a table'),
    el('table', { class: 'plain-table' }, el('caption', { class: 'off' }, 'Calls by provider and outcome'),
      el('thead', {}, el('tr', {}, ['Provider', 'Answered', 'Failed', 'Denied', 'All'].map((head) => el('th', { scope: 'col' }, head)))),
      el('tbody', {}, data.strips.map((strip) => el('tr', {}, el('th', { scope: 'row' }, stripTitle(strip)),
        KINDS.map(([kind]) => el('td', {}, String(sum(strip, kind)))), el('td', {}, String(strip.total)))))));
}

/** The figure for ENTRIES (folded records), or null when there is no call among them. */
export function chart(entries) {
  const shape = form();
  const data = counted(entries, shape.bars);
  if (!data) return null;
  const title = newId('chart');
  const total = data.strips.reduce((all, strip) => all + strip.total, 0);
  const parts = KINDS.map(([kind, word]) => [kind, word, data.strips.reduce((all, strip) => all + sum(strip, kind), 0)]);
  return el('figure', { class: 'chart' },
    el('figcaption', {}, el('span', { id: title }, `${plural(total, 'call')} listed, by provider and time`),
      el('ul', { class: 'legend' }, parts.map(([kind, word, count]) =>
        el('li', {}, el('span', { class: `key key-${kind}`, 'aria-hidden': 'true' }), `${count} ${word}`)))),
    drawing(data, title, shape), figures(data));
}
