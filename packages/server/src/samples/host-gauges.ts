import { Gauge, type Registry } from 'prom-client';
import type { HostUsage, SampleStore } from './sample-store.js';

/** More hosts than this are not shown one by one: figures must stay bounded whatever the fleet grows to. */
const hostsMost = 500;

const figures: readonly (readonly [name: string, help: string, read: (usage: HostUsage) => number | undefined])[] = [
  ['cpu_threads', 'Processor threads in use.', ({ cpu }) => cpu],
  ['cpu_threads_total', 'Processor threads there are.', ({ threads }) => threads],
  ['cpu_steal_threads', 'Threads that the machine beneath gave to others.', ({ steal }) => steal],
  ['memory_bytes', 'Memory in use.', ({ memoryBytes }) => memoryBytes],
  ['memory_total_bytes', 'Memory there is.', ({ memoryTotalBytes }) => memoryTotalBytes],
  ['disk_free_bytes', 'Free where disks of guests are.', ({ diskFreeBytes }) => diskFreeBytes],
  ['disk_read_bytes_per_second', 'Read from block devices.', ({ diskReadPerSecond }) => diskReadPerSecond],
  ['disk_write_bytes_per_second', 'Written to block devices.', ({ diskWritePerSecond }) => diskWritePerSecond],
  ['net_in_bytes_per_second', 'Received by the host.', ({ netInPerSecond }) => netInPerSecond],
  ['net_out_bytes_per_second', 'Sent by the host.', ({ netOutPerSecond }) => netOutPerSecond],
  ['transfer_bytes_per_second', 'Disks of moves, sent and received.', ({ transferPerSecond }) => transferPerSecond],
  ['guests', 'Guests that run.', ({ guests }) => guests],
];

/**
 * Figures of hosts for /metrics, by name of the host; one query for all. Guests are not in it: whoever may read /metrics is not asked for a
 * token, and names of instances are their tenants' own.
 */
export function addHostGauges(registry: Registry, samples: Pick<SampleStore, 'newest'>): void {
  let asked: Promise<readonly (HostUsage & { readonly host: string })[]> | undefined;
  // All gauges of one reading ask together.
  const ask = (): NonNullable<typeof asked> => {
    asked ??= samples
      .newest('all', hostsMost)
      .catch(() => [])
      .finally(() => {
        asked = undefined;
      });
    return asked;
  };
  for (const [name, help, read] of figures) {
    new Gauge({
      name: `virt8ra_host_${name}`,
      help,
      labelNames: ['host'],
      registers: [registry],
      async collect() {
        const usages = await ask();
        this.reset();
        for (const usage of usages) {
          const value = read(usage);
          if (value !== undefined) this.set({ host: usage.host }, value);
        }
      },
    });
  }
}
