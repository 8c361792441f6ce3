import type { Progress } from '@virt8ra/contract';
import { plain } from './table.js';
import { bytesText, durationText, pauseText } from './units.js';

const barWidth = 24;

/** One line of progress: phase, pass, bar, bytes, rate, time left. Without a total the bar is left out. */
export function progressText(progress: Progress): string {
  const { bytes, totalBytes, bytesPerSecond, etaSeconds, pass, dirtyBytes, predictedPauseMs, waitsFor } = progress;
  const parts = [plain(progress.phase).padEnd(8)];
  if (pass !== undefined) parts.push(`pass ${pass}`);
  if (totalBytes > 0) {
    const share = Math.min(1, bytes / totalBytes);
    const filled = Math.round(share * barWidth);
    parts.push(`[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${String(Math.floor(share * 100)).padStart(3)}%`);
    parts.push(`${bytesText(bytes)}/${bytesText(totalBytes)}`);
  } else if (bytes > 0) parts.push(bytesText(bytes));
  if (bytesPerSecond > 0) parts.push(`${bytesText(bytesPerSecond)}/s`);
  if (etaSeconds !== null && bytesPerSecond > 0) parts.push(`ETA ${durationText(etaSeconds)}`);
  if (dirtyBytes !== undefined && dirtyBytes > 0) parts.push(`${bytesText(dirtyBytes)} changed since`);
  if (predictedPauseMs !== undefined) parts.push(`pause ~${pauseText(predictedPauseMs)}`);
  if (progress.phase === 'waiting' && waitsFor !== undefined) parts.push(`waits for ${plain(waitsFor)}`);
  return parts.join('  ').trimEnd();
}
