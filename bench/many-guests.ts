import { createHash } from 'node:crypto';
import { freemem } from 'node:os';
import { AgentProcess, FakeControlPlane, imageVolume, smallInstance, testFolder } from '@virt8ra/agent/testing';
import { rest } from '@virt8ra/client';
import { type DesiredFilter, type DesiredNetwork, type DesiredNic, filterText } from '@virt8ra/contract';
import { cpuMsOf, memoryOf } from './program.js';
import { rounded, timingOf } from './timing.js';

export interface GuestsFigures {
  readonly guests: number;
  readonly agentMiB: number;
  /** Of one core, over the time that was watched. */
  readonly corePercent: number;
  /** From the moment a changed security group is sent until the kernel holds it for every guest, median; undefined where the host filters nothing. */
  readonly groupMs: number | undefined;
  /** The agent's own time on a core for such a change, mean. */
  readonly groupCpuMs: number | undefined;
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

const network: DesiredNetwork = { key: 'n', vni: 9_000_001, mtu: 1400, gateways: ['10.213.0.1/24'] };

function nic(number: number): DesiredNic {
  const mac = `52:54:00:62:00:${number.toString(16).padStart(2, '0')}`;
  return { key: `c${number}`, networkKey: network.key, mac, addresses: [`10.213.0.${number + 1}/24`], nameservers: [], filters: ['g'] };
}

/** A group of many rules, that lets one port in which changes. */
function group(port: number): DesiredFilter {
  const ports = [port, ...Array.from({ length: 50 }, (_, index) => 1000 + index)];
  return {
    key: 'g',
    networkKey: network.key,
    rules: ports.map((each) => ({ direction: 'ingress', protocol: 'tcp', ports: [{ from: each, to: each }] })),
    members: Array.from({ length: guests }, (_, index) => `10.213.0.${index + 2}`),
  };
}

/** A disk whose boot sector writes one letter to the serial port and halts for good (16-bit code). */
function idleGuestImage(): Buffer {
  const image = Buffer.alloc(imageBytes);
  Buffer.from('fabaf803b042eef4ebfd', 'hex').copy(image);
  image.writeUInt16LE(0xaa55, 510);
  return image;
}

/**
 * What an agent costs that has guests and nothing to do about them: real QEMU processes, whose guests have booted and sleep. Raises when the
 * machine has no room for them, or they do not all run.
 */
export async function measureGuests(say: (text: string) => void, quick: boolean): Promise<GuestsFigures> {
  const needed = guests * (memoryMiB + overheadMiB);
  const free = Math.floor(freemem() / 1024 ** 2);
  if (free < needed) throw new Error(`${guests} guests need ${needed} MiB of memory, and ${free} are free`);
  const plane = await FakeControlPlane.start();
  const agent = new AgentProcess(plane, host, await testFolder(), ['--log-level', 'warn', '--network', 'auto']);
  try {
    agent.start();
    const { features } = await plane.until('the agent is linked', () => plane.view(host).hello, 60_000);
    const filters = features.includes('filters');
    const image = plane.addArtifact(idleGuestImage());
    const numbers = Array.from({ length: guests }, (_, index) => index + 1);
    plane.want(host, {
      volumes: numbers.map((number) => imageVolume(`v${number}`, image, imageBytes)),
      instances: numbers.map((number) =>
        smallInstance(`i${number}`, `v${number}`, { epoch: 1, holder: host }, { memoryMiB, nics: filters ? [nic(number)] : [] }),
      ),
      ...(filters ? { networks: [network], filters: [group(1)] } : {}),
    });
    const begin = performance.now();
    const { instances } = plane.view(host);
    await plane.until(
      `${guests} guests run`,
      () => instances.size === guests && [...instances.values()].every(({ state }) => state === 'running'),
      300_000,
    );
    say(`${guests} guests ran ${rounded((performance.now() - begin) / 1000)} s after they were wanted`);
    await rest(quick ? settleMs / 2 : settleMs, undefined);
    const pid = agent.pid ?? 0;
    const before = cpuMsOf(pid);
    await rest(watchMs, undefined);
    const figures = { guests, agentMiB: memoryOf(pid)?.nowMiB ?? 0, corePercent: rounded(((cpuMsOf(pid) - before) / watchMs) * 100) };
    const cpuBefore = cpuMsOf(pid);
    const changes = quick ? 8 : 20;
    const groupMs = filters ? await measureGroup(plane, changes) : undefined;
    return { ...figures, groupMs, groupCpuMs: filters ? rounded((cpuMsOf(pid) - cpuBefore) / changes) : undefined };
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}; the agent says: ${agent.log.slice(-500)}`);
  } finally {
    // What runs is ended by the agent itself, which knows all of it.
    plane.want(host, { instances: [], volumes: [], filters: [], networks: [] });
    await plane
      .until('no guest is left', () => plane.view(host).instances.size + plane.view(host).networks.size === 0, 120_000)
      .catch(() => undefined);
    await agent.destroy();
    await plane.stop();
  }
}

async function measureGroup(plane: FakeControlPlane, changes: number): Promise<number> {
  const durations: number[] = [];
  for (let port = 2; port < changes + 2; port += 1) {
    const wanted = group(port);
    const digest = createHash('sha256').update(filterText(wanted)).digest('hex');
    const begin = performance.now();
    plane.want(host, { filters: [wanted] });
    await plane.until('the kernel holds the group', () => {
      const seen = plane.view(host).filters.get(wanted.key);
      return seen?.state === 'ready' && seen.digest === digest && seen.nics === guests;
    });
    durations.push(performance.now() - begin);
  }
  return timingOf(durations).medianMs;
}
