import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a command came to. */
export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly output: string;
}

/**
 * A machine of its own on this one: namespaces for mounts, processes, name and network, and a root that is this machine's with a layer of its
 * own above it. Nothing that is done there is seen here, and it goes with its first process.
 */
export interface Machine {
  readonly name: string;
  /** Of its first process, as this machine counts. */
  readonly pid: number;
  /** A path of the machine as seen from here. */
  path(inside: string): string;
  /** Runs a shell script in `/srv`; output goes to a record that a failure shows. */
  run(script: string, timeoutSeconds?: number): Promise<Ran>;
  stop(): Promise<void>;
}

const systemctl = readFileSync(new URL('./systemctl.sh', import.meta.url), 'utf8');

/** As root. `folder` holds its layer; `share` is what it finds in `/srv`. */
export async function startMachine(name: string, folder: string, share: string): Promise<Machine> {
  const at = (part: string): string => join(folder, name, part);
  for (const part of ['upper', 'work', 'root']) mkdirSync(at(part), { recursive: true });
  const boot = `
    set -e
    mount --make-rprivate /
    mount -t overlay overlay -o lowerdir=/,upperdir=${at('upper')},workdir=${at('work')} ${at('root')}
    cd ${at('root')}
    for each in proc sys dev run; do mkdir -p $each; done
    mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run
    mount --bind ${share} srv
    rm -rf var/lib/virt8ra var/lib/virt8ra-agent etc/virt8ra root/.config/virt8ra
    hostname ${name}
    ip link set lo up
    exec chroot . bash -c 'echo ready; while :; do sleep 3600 & wait; done'`;
  const child = spawn('unshare', ['--mount', '--pid', '--fork', '--uts', '--net', '--ipc', '--kill-child', 'bash', '-c', boot], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  // Said from inside the new root: before that, its paths lead to the root of this machine.
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`machine ${name} ended with ${code} before it was up: ${complaints}`)));
  });
  const pid = firstProcessOf(child);
  const machine: Machine = {
    name,
    pid,
    path: (inside) => join(`/proc/${pid}/root`, inside),
    async run(script, timeoutSeconds = 120) {
      const inside = ['-t', String(pid), '-m', '-p', '-u', '-n', '-i', '-r', '-w'];
      const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', DEBIAN_FRONTEND: 'noninteractive', LANG: 'C.UTF-8' };
      const running = spawn('nsenter', [...inside, 'bash', '-ec', `cd /srv\n${script}`], {
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let output = '';
      running.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
        output += text;
      });
      running.stderr.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      const timer = setTimeout(() => running.kill('SIGKILL'), timeoutSeconds * 1000);
      // Not its pipes' end: a service that was started holds nothing of them, but what it started before might.
      const status = await new Promise<number | null>((resolve) => running.once('exit', resolve));
      clearTimeout(timer);
      return { status, stdout, output };
    },
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      process.kill(pid, 'SIGKILL');
      await ended;
      rmSync(join(folder, name), { recursive: true, force: true });
    },
  };
  writeFileSync(machine.path('/usr/bin/systemctl'), systemctl, { mode: 0o755 });
  return machine;
}

function firstProcessOf({ pid }: ChildProcess): number {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  if (first === undefined || first === '') throw new Error('the machine has no first process');
  return Number(first);
}

/** Joins machines by a bridge that lives in the first one's network; their addresses are 10.76.0.1, .2 and so on. */
export function joinMachines(machines: readonly Machine[]): void {
  const [first] = machines;
  if (first === undefined) return;
  const must = (...words: readonly string[]): void => {
    const { status, stderr } = spawnSync(words[0] ?? '', words.slice(1), { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${words.join(' ')}: ${stderr}`);
  };
  const inside = (machine: Machine, ...words: readonly string[]): void => must('nsenter', '-t', String(machine.pid), '-n', ...words);
  inside(first, 'ip', 'link', 'add', 'lan', 'type', 'bridge');
  inside(first, 'ip', 'address', 'add', '10.76.0.1/24', 'dev', 'lan');
  inside(first, 'ip', 'link', 'set', 'lan', 'up');
  for (const [index, machine] of machines.entries()) {
    if (machine !== first) {
      inside(first, 'ip', 'link', 'add', `to${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(machine.pid));
      inside(first, 'ip', 'link', 'set', `to${index}`, 'master', 'lan', 'up');
      inside(machine, 'ip', 'address', 'add', `10.76.0.${index + 1}/24`, 'dev', 'eth0');
      inside(machine, 'ip', 'link', 'set', 'eth0', 'up');
    }
    writeFileSync(machine.path('/etc/hosts'), `127.0.0.1 localhost\n127.0.1.1 ${machine.name}\n10.76.0.1 control.example\n`);
  }
}
