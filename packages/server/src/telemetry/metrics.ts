import type { EngineMetrics } from '@virt8ra/engine';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Figures of this server in Prometheus' text format. */
export interface Metrics {
  /** For parts that add figures of their own. */
  readonly registry: Registry;
  readonly engine: EngineMetrics;
  /** A figure that is asked for when metrics are read. Must be quick; when it throws the figure is left out. */
  gauge(name: `virt8ra_${string}`, help: string, read: () => number | Promise<number>): void;
}

const workBuckets = [0.005, 0.025, 0.1, 0.5, 2, 10, 60, 300];

export function createMetrics(facts: { readonly version: string }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'virt8ra_build', help: 'Always 1; the version stands in the label.', labelNames: ['version'], registers }).set(
    { version: facts.version },
    1,
  );
  const work = new Histogram({
    name: 'virt8ra_work_seconds',
    help: 'Attempts of reconciles and runs on the work queue.',
    labelNames: ['kind', 'outcome'],
    buckets: workBuckets,
    registers,
  });
  const runs = new Histogram({
    name: 'virt8ra_run_seconds',
    help: 'Runs that ended, from start to end.',
    labelNames: ['workflow', 'state'],
    buckets: workBuckets,
    registers,
  });
  const unread = new Counter({
    name: 'virt8ra_metrics_unread_total',
    help: 'Figures that could not be read.',
    labelNames: ['name'],
    registers,
  });
  return {
    registry,
    engine: {
      worked: (kind, outcome, seconds) => work.observe({ kind, outcome }, seconds),
      runEnded: (workflow, state, seconds) => runs.observe({ workflow, state }, seconds),
    },
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          try {
            this.set(await read());
          } catch {
            unread.inc({ name });
            // Unknown is not nought.
            this.set(Number.NaN);
          }
        },
      });
    },
  };
}
