import { readdir, readFile, readlink } from 'node:fs/promises';

export interface ListeningProcess {
  readonly pid: number;
  /** As it calls itself. */
  readonly name: string;
}

/** Who listens on a TCP port of this machine: `stranger` when that is a process whose files this user may not see; undefined: nobody. */
export async function findListener(port: number): Promise<ListeningProcess | undefined> {
  const sockets = await listeningSockets(port);
  if (sockets.size === 0) return undefined;
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch((): string[] => [])) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (!sockets.has(target)) continue;
      const name = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return { pid, name: nameFrom(name) };
    }
  }
  return undefined;
}

/** Whether anybody listens, seen or not. */
export async function isTaken(port: number): Promise<boolean> {
  return (await listeningSockets(port)).size > 0;
}

async function listeningSockets(port: number): Promise<ReadonlySet<string>> {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const found = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    const text = await readFile(`/proc/net/${table}`, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      // 0A: it listens.
      if (fields[1]?.endsWith(`:${wanted}`) === true && fields[3] === '0A') found.add(`socket:[${fields[9]}]`);
    }
  }
  return found;
}

/** The program, and for node its script. */
function nameFrom(commandLine: string): string {
  const [program = '', script] = commandLine.split('\0');
  const last = (path: string): string => path.split('/').at(-1) ?? path;
  if (last(program) !== 'node' || script === undefined) return last(program);
  return /virt8ra|\/server\/dist\//.test(script) ? 'virt8ra-server' : last(script);
}
