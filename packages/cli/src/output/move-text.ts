import type { StatusOf } from '@virt8ra/client';
import type { migration } from '@virt8ra/contract';
import { bytesText, pauseText } from './units.js';

type Measured = Pick<
  NonNullable<StatusOf<typeof migration>>,
  'mode' | 'pauseMs' | 'handoverMs' | 'bytes' | 'resentBytes' | 'passes' | 'digests'
>;

/** What was measured of a journey, a line for each. */
export function measuredLines({ mode, pauseMs, handoverMs, bytes, resentBytes, passes, digests = [] }: Measured): readonly string[] {
  const lines: string[] = [];
  if (pauseMs !== undefined) lines.push(`  pause     ${pauseText(pauseMs)}`);
  if (handoverMs !== undefined) lines.push(`  handover  ${pauseText(handoverMs)}`);
  if (bytes !== undefined) {
    const during = passes === undefined || mode === 'live' ? '' : ` in ${passes} pass${passes === 1 ? '' : 'es'}`;
    const resent = resentBytes === undefined || resentBytes === 0 ? '' : `, ${bytesText(resentBytes)} sent again`;
    lines.push(`  bytes     ${bytesText(bytes)}${during}${resent}`);
  }
  for (const { disk, equal, source, target } of digests)
    lines.push(`  digest    ${disk}: ${equal ? `equal (${source.slice(0, 16)}…)` : `DIFFERS ${source} ≠ ${target}`}`);
  return lines;
}
