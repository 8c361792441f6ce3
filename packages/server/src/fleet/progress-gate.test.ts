import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createProgressGate, type TransferProgress } from './progress-gate.js';

function progress(transferId: string, bytes: number): TransferProgress {
  return { host: 'alpha', transferId, phase: 'copy', pass: 1, bytes, totalBytes: 100, bytesPerSecond: 1, etaSeconds: null };
}

describe('the gate for progress', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('lets the first through at once and then the newest of every interval', () => {
    const told: number[] = [];
    const gate = createProgressGate(({ bytes }) => told.push(bytes));
    for (const bytes of [1, 2, 3]) gate.offer(progress('t', bytes));
    expect(told).toEqual([1]);
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([1, 3]);
    gate.offer(progress('t', 4));
    vi.advanceTimersByTime(999);
    expect(told).toEqual([1, 3]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([1, 3, 4]);
    vi.advanceTimersByTime(1000);
    gate.offer(progress('t', 5));
    expect(told).toEqual([1, 3, 4, 5]);
  });

  it('keeps transfers apart, and stops', () => {
    const told: string[] = [];
    const gate = createProgressGate(({ transferId, bytes }) => told.push(`${transferId}${bytes}`));
    gate.offer(progress('a', 1));
    gate.offer(progress('b', 1));
    gate.offer(progress('a', 2));
    gate.stop();
    vi.advanceTimersByTime(5000);
    expect(told).toEqual(['a1', 'b1']);
  });
});
