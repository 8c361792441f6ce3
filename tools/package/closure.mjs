// What a program of this repository needs at run time: its package and, from node_modules, everything that its dependencies name.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { root } from '../ensure.mjs';

/** @typedef {{ name: string, version: string, licence: string, folder: string, place: string, own: boolean }} Part */

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

/** As Node looks for it: in each node_modules on the way up. */
function pathOf(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Where it goes below node_modules: as it lies there now, so that several versions of one can be there. */
function placeOf(path) {
  const place = relative(join(root, 'node_modules'), path);
  return place.startsWith('..') ? relative(join(root, 'packages'), path).replace(/^/, '@virt8ra/') : place;
}

/**
 * The packages behind `packages/NAME`, itself included, each once and in the order of places. Optional ones that bring binaries are left
 * out: Debian has them. Throws when one is not installed.
 *
 * @param {string[]} names folders in packages/
 * @returns {Part[]}
 */
export function runtimeClosure(names) {
  /** @type {Map<string, Part>} */
  const found = new Map();
  const queue = names.map((name) => join(root, 'packages', name));
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    const place = placeOf(path);
    if (found.has(place)) continue;
    const folder = realpathSync(path);
    const { name, version, license, dependencies = {} } = manifestOf(folder);
    found.set(place, { name, version, licence: String(license ?? 'unknown'), folder, place, own: name.startsWith('@virt8ra/') });
    for (const dependency of Object.keys(dependencies)) {
      const at = pathOf(dependency, folder);
      if (at === undefined) throw new Error(`${dependency}, which ${name} needs, is not installed; run npm ci`);
      queue.push(at);
    }
  }
  return [...found.values()].sort((a, b) => (a.place < b.place ? -1 : 1));
}
