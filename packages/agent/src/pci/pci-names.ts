import { readText } from '../disk/atomic-file.js';

/** Where distributions put the register of names (packages pci.ids, hwdata). */
const files = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'] as const;

/** What devices are called, where this host has the register. It is read for what was not asked for before. */
export class PciNames {
  readonly #paths: readonly string[];
  readonly #known = new Map<string, string | undefined>();

  constructor(paths: readonly string[] = files) {
    this.#paths = paths;
  }

  /** By `vendor:device`; those that the register does not know are absent. */
  async of(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
    const unread = [...ids].filter((id) => !this.#known.has(id));
    if (unread.length > 0) {
      for (const id of unread) this.#known.set(id, undefined);
      for (const path of this.#paths) {
        const text = await readText(path).catch(() => undefined);
        if (text === undefined) continue;
        for (const [id, name] of namesIn(text, new Set(unread))) this.#known.set(id, name);
        break;
      }
    }
    const names = new Map<string, string>();
    for (const id of ids) {
      const name = this.#known.get(id);
      if (name !== undefined) names.set(id, name);
    }
    return names;
  }
}

function namesIn(text: string, ids: ReadonlySet<string>): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  let vendor = '';
  let maker = '';
  for (const line of text.split('\n')) {
    const [, id, name] = /^\t?([0-9a-f]{4}) {2}(\S.*)$/.exec(line) ?? [];
    if (id === undefined || name === undefined) continue;
    if (line.startsWith('\t')) {
      const key = `${vendor}:${id}`;
      if (ids.has(key)) names.set(key, `${maker} ${name}`.slice(0, 128));
    } else {
      vendor = id;
      maker = name;
    }
  }
  return names;
}
