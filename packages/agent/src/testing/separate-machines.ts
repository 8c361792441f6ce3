import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';

/** A network namespace that stands for a machine of its own. */
export interface SeparateMachine {
  readonly namespace: string;
  readonly address: string;
}

/**
 * Machines beside this one, each a network namespace on one wire with us. Names and addresses are of this run alone; `destroy` leaves nothing.
 * Needs root.
 */
export class SeparateMachines {
  readonly #id = randomBytes(3).toString('hex');
  readonly #bridge = `ov${this.#id}`;
  readonly #prefix = freePrefix();
  readonly #namespaces: string[] = [];
  /** Our own address on the wire. */
  readonly address = `${this.#prefix}.1`;

  constructor() {
    ip('link', 'add', this.#bridge, 'type', 'bridge', 'forward_delay', '0', 'mcast_snooping', '0');
    ip('address', 'add', `${this.address}/24`, 'dev', this.#bridge);
    ip('link', 'set', 'dev', this.#bridge, 'up');
  }

  add(): SeparateMachine {
    const index = this.#namespaces.length + 2;
    const namespace = `ov${this.#id}m${index}`;
    const address = `${this.#prefix}.${index}`;
    this.#addNamespace(namespace);
    ip('link', 'add', this.#port(index), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('link', 'set', 'dev', this.#port(index), 'master', this.#bridge, 'up');
    ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'dev', 'eth0', 'up');
    return { namespace, address };
  }

  /** Something with an address on a bridge, as a guest would have: a namespace of its own. Answers its name. */
  addGuest(place: { readonly bridge: string; readonly namespace?: string }, name: string, cidr: string, mtu: number): string {
    const namespace = `ov${this.#id}g${name}`;
    const within = place.namespace === undefined ? [] : ['-n', place.namespace];
    const mac = ['02', ...(Buffer.from(name).toString('hex').padStart(10, '0').slice(-10).match(/../g) ?? [])].join(':');
    this.#addNamespace(namespace);
    ip(...within, 'link', 'add', `ov${this.#id}${name}`, 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip(...within, 'link', 'set', 'dev', `ov${this.#id}${name}`, 'master', place.bridge, 'up');
    ip('-n', namespace, 'link', 'set', 'dev', 'eth0', 'address', mac, 'mtu', String(mtu));
    ip('-n', namespace, 'address', 'add', cidr, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'dev', 'eth0', 'up');
    return namespace;
  }

  removeGuest(namespace: string): void {
    ip('netns', 'delete', namespace);
    this.#namespaces.splice(this.#namespaces.indexOf(namespace), 1);
  }

  /** Pulls a machine's cable, or puts it back. */
  setCable(machine: SeparateMachine, state: 'up' | 'down'): void {
    ip('-n', machine.namespace, 'link', 'set', 'dev', 'eth0', state);
  }

  destroy(): void {
    for (const namespace of this.#namespaces) {
      // What still runs there, such as a tunnel's process, was started in it.
      for (const pid of execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).split('\n').filter(Boolean)) {
        if (Number(pid) !== process.pid) kill(Number(pid));
      }
      execFileSync('ip', ['netns', 'delete', namespace]);
    }
    this.#namespaces.length = 0;
    execFileSync('ip', ['link', 'delete', 'dev', this.#bridge]);
  }

  #port(index: number): string {
    return `ov${this.#id}p${index}`;
  }

  #addNamespace(namespace: string): void {
    ip('netns', 'add', namespace);
    this.#namespaces.push(namespace);
    ip('-n', namespace, 'link', 'set', 'dev', 'lo', 'up');
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** A /24 that no interface of this machine is in. */
function freePrefix(): string {
  const taken = Object.values(networkInterfaces()).flatMap((entries = []) => entries.map(({ address }) => address));
  for (;;) {
    const [byte = 0] = randomBytes(1);
    const prefix = `10.219.${byte}`;
    if (!taken.some((address) => address.startsWith(`${prefix}.`))) return prefix;
  }
}
