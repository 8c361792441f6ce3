#!/usr/bin/env node
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startIdleAgent } from './agent-memory.js';
import { measureLivePause } from './live-pause.js';
import { measureGuests } from './many-guests.js';
import { measureMover } from './mover-speed.js';
import { judgeNorthbound, measureNorthbound, type NorthboundFigures } from './northbound.js';
import { measureOverlay } from './overlay-speed.js';
import { measureScale } from './scale.js';
import { benchFolder, serve } from './served.js';
import { allowedRatio, ratiosOf, tableOf } from './table.js';
import { rounded } from './timing.js';

const help = `npm run bench [-- OPTIONS]: what it costs, and how that grows

  --quick         1,000 and 10,000 resources; without it 100,000 as well
  --report FILE   write the figures as JSON
  --help
`;

/** A pause of ours against one that QEMU makes alone, with the same machine at the same ends. */
const allowedLiveRatio = 1.2;

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Why a part could not be measured. */
interface Skipped {
  readonly skipped: string;
}

async function orSkipped<Result>(work: () => Promise<Result>): Promise<Result | Skipped> {
  try {
    return await work();
  } catch (error) {
    return { skipped: error instanceof Error ? error.message : String(error) };
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' }, report: { type: 'string' }, help: { type: 'boolean' } } });
  const quick = values.quick === true;
  const say = (text: string) => process.stdout.write(`${text}\n`);
  if (values.help === true) {
    process.stdout.write(help);
    return 0;
  }
  const verdicts: { readonly what: string; readonly holds: boolean }[] = [];
  const judge = (what: string, holds: boolean) => {
    verdicts.push({ what, holds });
    say(`${holds ? '✓' : '✗'} ${what}`);
  };
  const folder = await benchFolder();
  try {
    say(`machine: ${availableParallelism()} threads, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`);
    const first = await serve(root, folder.path);
    const sizes = quick ? [1_000, 10_000] : [1_000, 10_000, 100_000];
    let northbound: NorthboundFigures | Skipped | undefined;
    const rows = await (async () => {
      const measured = await measureScale(first, sizes, say);
      northbound = await orSkipped(async () => await measureNorthbound(first, sizes.at(-1) ?? 0, quick));
      return measured;
    })().finally(first.program.stop);
    say(`\nmedian in ms (99th percentile, ratio to the first row)\n${tableOf(rows)}\n`);
    const ratios = ratiosOf(rows);
    const worst = ratios.reduce((a, b) => (b.ratio > a.ratio ? b : a));
    judge(
      `nothing costs more than ${allowedRatio}x as the collection grows (worst: ${worst.what} ${worst.ratio}x)`,
      worst.ratio <= allowedRatio,
    );
    const at10k = rows.find(({ resources }) => resources === 10_000)?.serverMiB ?? 0;
    judge(`the server holds ${at10k} MiB at 10,000 resources (at most 200)`, at10k <= 200);

    if (northbound === undefined || 'skipped' in northbound) say(`- load on the API not measured: ${northbound?.skipped}`);
    else judgeNorthbound(northbound, judge, say);

    const second = await serve(root, folder.path);
    const ready = rounded(second.readySeconds);
    judge(`the server is ready on this database after ${ready} s (at most 3)`, ready <= 3);
    // The idle agent settles while guests are moved: neither minds the other.
    const idle = await orSkipped(async () => await startIdleAgent(root, folder.path, second));
    const live = await orSkipped(async () => await measureLivePause(root, folder.path, second, quick ? 3 : 7));
    const agent = 'skipped' in idle ? idle : await orSkipped(idle.measure);
    await second.program.stop();
    if ('skipped' in agent) say(`- idle agent not measured: ${agent.skipped}`);
    else judge(`an idle agent holds ${agent.idleMiB} MiB (at most 80)`, agent.idleMiB <= 80);

    const guests = await orSkipped(async () => await measureGuests(say, quick));
    if ('skipped' in guests) say(`- many guests not measured: ${guests.skipped}`);
    else {
      judge(`an agent with ${guests.guests} running guests holds ${guests.agentMiB} MiB (at most 120)`, guests.agentMiB <= 120);
      judge(`and keeps ${guests.corePercent} % of a core busy while they idle (at most 2)`, guests.corePercent <= 2);
      if (guests.groupMs === undefined) say('- a changed security group not measured: this host does not filter');
      else {
        judge(
          `a changed security group reaches ${guests.guests} guests within ${guests.groupMs} ms (at most 1000)`,
          guests.groupMs <= 1000,
        );
        say(`  the agent's own process takes ${guests.groupCpuMs} ms of a core for such a change`);
      }
    }

    if ('skipped' in live) say(`- live moves not measured: ${live.skipped}`);
    else {
      say(`live: the guest stands still for ${live.oursMs} ms, by QEMU alone ${live.qemuMs} ms (medians of ${live.rounds} rounds in turn)`);
      judge(
        `a live move stops the guest for ${live.ratio}x what QEMU alone does (at most ${allowedLiveRatio})`,
        live.ratio <= allowedLiveRatio,
      );
    }

    const mover = await orSkipped(async () => await measureMover(root, folder.path));
    if ('skipped' in mover) say(`- mover not measured: ${mover.skipped}`);
    else {
      say(`mover ${mover.moverMiBs} MiB/s, nbdcopy over TLS ${mover.nbdcopyMiBs} MiB/s, ${mover.bytesMiB} MiB`);
      judge(`the mover reaches ${Math.round(mover.share * 100)} % of nbdcopy (at least 70)`, mover.share >= 0.7);
      judge(`a mover holds ${mover.memoryMiB} MiB at most (at most 128)`, mover.memoryMiB <= 128);
    }
    const overlay = await orSkipped(measureOverlay);
    if ('skipped' in overlay) say(`- overlay not measured: ${overlay.skipped}`);
    else {
      const { mode, tunnelMiBs, overlayMiBs, share, leastShare, mostShare } = overlay;
      const device = mode === 'kernel' ? 'WireGuard of the kernel' : 'wireguard-go';
      say(`tunnel (${device}) ${tunnelMiBs} MiB/s, network over it ${overlayMiBs} MiB/s, medians of ${overlay.rounds} rounds in turn`);
      const percent = (value: number) => Math.round(value * 100);
      judge(
        `a network over a tunnel reaches ${percent(share)} % of it (at least 80; in single rounds ${percent(leastShare)} to ${percent(mostShare)})`,
        share >= 0.8,
      );
    }
    if (values.report !== undefined) {
      const report = {
        date: new Date().toISOString(),
        threads: availableParallelism(),
        rows,
        ratios,
        northbound,
        readySeconds: ready,
        agent,
        guests,
        live,
        mover,
        overlay,
        verdicts,
      };
      writeFileSync(resolve(values.report), `${JSON.stringify(report, null, 2)}\n`);
    }
    return 0;
  } finally {
    folder.remove();
  }
}

process.exit(await main());
