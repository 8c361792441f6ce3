import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { AgentProcess, FakeControlPlane, imageVolume, smallInstance, testFolder } from '@virt8ra/agent/testing';
import { rest } from '@virt8ra/cli';
import { memoryOf } from './program.js';
import { rounded } from './timing.js';

export interface GuestsFigures {
  readonly guests: number;
  readonly agentMiB: number;
  /** Of one core, over the time that was watched. */
  readonly corePercent: number;
}

const guests = 50;
const memoryMiB = 64;
/** A hypervisor's process beside its guest's memory. */
const overheadMiB = 40;
const imageBytes = 1024 ** 2;
const host = 'bench';
/** V8 gives back what the start took at its first collection of an idle process. */
const settleMs = 25_000;
const watchMs = 30_000;
const tickMs = 10;

/** A disk whose boot sector writes one letter to the serial port and halts for good (16-bit code). */
function idleGuestImage(): Buffer {
  const image = Buffer.alloc(imageBytes);
  Buffer.from('fabaf803b042eef4ebfd', 'hex').copy(image);
  image.writeUInt16LE(0xaa55, 510);
  return image;
}

/** CPU time of a process, in milliseconds (proc_pid_stat(5): utime, stime, in ticks of 1/100 s). */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}

/**
 * What an agent costs that has guests and nothing to do about them: real QEMU processes, whose guests have booted and sleep. Raises when the
 * machine has no room for them, or they do not all run.
 */
export async function measureGuests(say: (text: string) => void): Promise<GuestsFigures> {
  const needed = guests * (memoryMiB + overheadMiB);
  const free = Math.floor(freemem() / 1024 ** 2);
  if (free < needed) throw new Error(`${guests} guests need ${needed} MiB of memory, and ${free} are free`);
  const plane = await FakeControlPlane.start();
  const agent = new AgentProcess(plane, host, await testFolder(), ['--log-level', 'warn']);
  try {
    agent.start();
    const image = plane.addArtifact(idleGuestImage());
    const numbers = Array.from({ length: guests }, (_, index) => index + 1);
    plane.want(host, {
      volumes: numbers.map((number) => imageVolume(`v${number}`, image, imageBytes)),
      instances: numbers.map((number) => smallInstance(`i${number}`, `v${number}`, { epoch: 1, holder: host }, { memoryMiB })),
    });
    const begin = performance.now();
    const { instances } = plane.view(host);
    await plane.until(
      `${guests} guests run`,
      () => instances.size === guests && [...instances.values()].every(({ state }) => state === 'running'),
      300_000,
    );
    say(`${guests} guests ran ${rounded((performance.now() - begin) / 1000)} s after they were wanted`);
    await rest(settleMs, undefined);
    const pid = agent.pid ?? 0;
    const before = cpuMsOf(pid);
    await rest(watchMs, undefined);
    return {
      guests,
      agentMiB: memoryOf(pid)?.nowMiB ?? 0,
      corePercent: rounded(((cpuMsOf(pid) - before) / watchMs) * 100),
    };
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}; the agent says: ${agent.log.slice(-500)}`);
  } finally {
    // What runs is ended by the agent itself, which knows all of it.
    plane.want(host, { instances: [], volumes: [] });
    await plane.until('no guest is left', () => plane.view(host).instances.size === 0, 120_000).catch(() => undefined);
    await agent.destroy();
    await plane.stop();
  }
}
