// Reads a .env block: NAME=value lines, optionally exported and quoted; comments are skipped.

const ESCAPES = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"', $: '$' };

function valueOf(text) {
  const single = /^'([^']*)'/.exec(text);
  if (single) return single[1];
  const double = /^"((?:[^"\\]|\\.)*)"/.exec(text);
  if (double) return double[1].replace(/\\(.)/g, (all, c) => ESCAPES[c] ?? all);
  return text.replace(/(^|\s)#.*$/, '').trim();
}

/** [[name, value], ...] in their order; a later line of the same name wins; empty values are left out. */
export function parseEnv(text) {
  const found = new Map();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+|set\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*[=:]\s*(.*)$/.exec(line);
    if (!match) continue;
    const value = valueOf(match[2]);
    found.delete(match[1]);
    if (value) found.set(match[1], value);
  }
  return [...found];
}
