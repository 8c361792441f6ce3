import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/** Processes, mounts under /run and a network of its own, which stand for a machine of its own. Its files are ours. */
export interface SeparateMachine {
  readonly address: string;
  /** Words before a command that runs there. */
  readonly within: readonly string[];
  /** Runs a command there and answers its standard output. */
  run(...words: readonly string[]): string;
}

interface Machine extends SeparateMachine {
  readonly holder: ChildProcess;
}

const prepare =
  'mount -t tmpfs tmpfs /run; mkdir /run/netns; mount -t sysfs sysfs /sys; ip link set dev lo up; echo up; sleep infinity & wait';

/**
 * Machines beside this one, on one wire with us. Names and addresses are of this run alone; `destroy` leaves nothing, and a machine ends with
 * everything in it when we end. Needs root.
 */
export class SeparateMachines {
  readonly #id = randomBytes(3).toString('hex');
  readonly #bridge = `ov${this.#id}`;
  readonly #prefix = freePrefix();
  readonly #machines: Machine[] = [];
  /** Our own address on the wire. */
  readonly address = `${this.#prefix}.1`;

  constructor() {
    ip('link', 'add', this.#bridge, 'type', 'bridge', 'forward_delay', '0', 'mcast_snooping', '0');
    ip('address', 'add', `${this.address}/24`, 'dev', this.#bridge);
    ip('link', 'set', 'dev', this.#bridge, 'up');
  }

  async add(): Promise<SeparateMachine> {
    const index = this.#machines.length + 2;
    const address = `${this.#prefix}.${index}`;
    const unshare = ['unshare', '--fork', '--kill-child', '--pid', '--mount-proc', '--mount', '--net', 'sh', '-euc', prepare];
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', ...unshare], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const first = String(childOf(holder.pid ?? 0));
    const within = ['nsenter', '--target', first, '--mount', '--pid', '--net', '--'];
    const run = (...words: readonly string[]): string => {
      const [command = '', ...args] = [...within, ...words];
      return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    };
    this.#machines.push({ address, within, run, holder });
    const port = `ov${this.#id}p${index}`;
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', first);
    ip('link', 'set', 'dev', port, 'master', this.#bridge, 'up');
    run('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
    run('ip', 'link', 'set', 'dev', 'eth0', 'up');
    return { address, within, run };
  }

  /** Something with an address on a machine's bridge, as a guest would have: a network namespace there. Answers its name. */
  addGuest(
    machine: SeparateMachine,
    place: { readonly bridge: string; readonly namespace?: string },
    name: string,
    cidr: string,
    mtu: number,
  ): string {
    const namespace = `guest-${name}`;
    const port = `g${name}`.slice(0, 15);
    const at = place.namespace === undefined ? [] : ['-n', place.namespace];
    const mac = ['02', ...(Buffer.from(name).toString('hex').padStart(10, '0').slice(-10).match(/../g) ?? [])].join(':');
    machine.run('ip', 'netns', 'add', namespace);
    machine.run('ip', ...at, 'link', 'add', port, 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    machine.run('ip', ...at, 'link', 'set', 'dev', port, 'master', place.bridge, 'up');
    machine.run('ip', '-n', namespace, 'link', 'set', 'dev', 'lo', 'up');
    machine.run('ip', '-n', namespace, 'link', 'set', 'dev', 'eth0', 'address', mac, 'mtu', String(mtu));
    machine.run('ip', '-n', namespace, 'address', 'add', cidr, 'dev', 'eth0');
    machine.run('ip', '-n', namespace, 'link', 'set', 'dev', 'eth0', 'up');
    return namespace;
  }

  /** Pulls a machine's cable, or puts it back. */
  setCable(machine: SeparateMachine, state: 'up' | 'down'): void {
    machine.run('ip', 'link', 'set', 'dev', 'eth0', state);
  }

  async destroy(): Promise<void> {
    for (const { holder } of this.#machines) {
      if (holder.exitCode !== null || holder.signalCode !== null) continue;
      const ended = once(holder, 'exit');
      holder.kill('SIGKILL');
      await ended;
    }
    this.#machines.length = 0;
    ip('link', 'delete', 'dev', this.#bridge);
  }
}

/** The one child of a process. */
export function childOf(pid: number): number {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  if (first === undefined || first === '') throw new Error(`process ${pid} has no child`);
  return Number(first);
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
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
