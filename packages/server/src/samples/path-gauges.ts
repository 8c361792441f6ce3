import type { HostPath, PathFigure } from '@virt8ra/contract';
import { Gauge, type Registry } from 'prom-client';
import type { Fleet } from '../fleet/fleet.js';

/** More paths than this are not shown one by one. */
const pathsMost = 500;

/** Figures of paths for /metrics, by the names of both hosts; what is not known is left out. */
export function addPathGauges(registry: Registry, fleet: Pick<Fleet, 'paths'>): void {
  const figures: readonly (readonly [name: string, help: string, read: (path: HostPath) => PathFigure, factor: number])[] = [
    ['virt8ra_path_rtt_seconds', 'Round trip between two hosts, as measured last.', ({ rttMs }) => rttMs, 0.001],
    ['virt8ra_path_bytes_per_second', 'Carried from host to host, when it was measured last.', ({ bytesPerSecond }) => bytesPerSecond, 1],
  ];
  let asked: Promise<readonly HostPath[]> | undefined;
  // Both gauges of one reading ask together.
  const ask = (): NonNullable<typeof asked> => {
    asked ??= fleet
      .paths(pathsMost)
      .catch(() => [])
      .finally(() => {
        asked = undefined;
      });
    return asked;
  };
  for (const [name, help, read, factor] of figures) {
    new Gauge({
      name,
      help,
      labelNames: ['from', 'to'],
      registers: [registry],
      async collect() {
        const paths = await ask();
        this.reset();
        for (const path of paths) {
          const { value } = read(path);
          if (value !== 'unknown') this.set({ from: path.from.host, to: path.to.host }, value * factor);
        }
      },
    });
  }
}
