import { describe, expect, it } from 'vitest';
import { broken } from './verify-report.mjs';

const move = {
  mode: 'warm',
  from: 'a',
  to: 'b',
  gapMs: 5000,
  pauseMs: 300,
  bytes: 1_000_000,
  digestEqual: true,
  counterBefore: 3,
  counterAfter: 4,
};
const live = { ...move, mode: 'live', gapMs: 700, sameBoot: true, writtenBytes: 65_536, connectionSurvived: true };
const back = { ...move, way: 'back', from: 'b', to: 'a', bytes: 10 };
const good = {
  readySeconds: 9,
  sites: ['a', 'b', 'c'],
  guest: { bootSeconds: 4, bootId: 'x', accelerator: 'tcg' },
  moves: [move, { ...move, mode: 'cold', pauseMs: null }, live, back],
  killed: { chunkBytes: 1 << 20, streams: 4, resentBytes: 4 << 20, resumedSeconds: 2 },
};

describe('a report of the demo', () => {
  it('is good when it keeps what was promised', () => {
    expect(broken(good)).toEqual([]);
  });

  it.each([
    { title: 'a site is missing', report: { ...good, sites: ['a', 'b'] }, says: 'three sites' },
    { title: 'no guest booted', report: { ...good, guest: { bootSeconds: 4, bootId: null } }, says: 'boot id' },
    { title: 'no cold move was made', report: { ...good, moves: [move] }, says: 'no cold move' },
    { title: 'disks differ', report: { ...good, moves: [...good.moves, { ...move, digestEqual: false }] }, says: 'disks differ' },
    { title: 'a digest is unknown', report: { ...good, moves: [...good.moves, { ...move, digestEqual: null }] }, says: 'disks differ' },
    { title: 'the counter went back', report: { ...good, moves: [...good.moves, { ...move, counterAfter: 2 }] }, says: 'went from 3 to 2' },
    { title: 'the pause was long', report: { ...good, moves: [{ ...move, pauseMs: 1001 }, good.moves[1]] }, says: 'paused 1001 ms' },
    {
      title: 'the pause is unknown',
      report: { ...good, moves: [{ ...move, pauseMs: undefined }, good.moves[1]] },
      says: 'paused undefined',
    },
    { title: 'no live move was made', report: { ...good, moves: good.moves.slice(0, 2) }, says: 'no live move' },
    {
      title: 'the live guest was booted anew',
      report: { ...good, moves: [...good.moves, { ...live, sameBoot: false }] },
      says: 'booted anew',
    },
    {
      title: 'the client missed it for long',
      report: { ...good, moves: [...good.moves, { ...live, gapMs: 2001 }] },
      says: 'missed 2001 ms',
    },
    { title: 'it wrote nothing there', report: { ...good, moves: [...good.moves, { ...live, writtenBytes: 0 }] }, says: 'written nothing' },
    {
      title: 'a connection broke',
      report: { ...good, moves: [...good.moves, { ...live, connectionSurvived: false }] },
      says: 'connection broke',
    },
    { title: 'nothing was taken back', report: { ...good, moves: good.moves.slice(0, 3) }, says: 'no move was taken back' },
    {
      title: 'the way back carried much',
      report: { ...good, moves: [...good.moves.slice(0, 3), { ...back, bytes: 600_000 }] },
      says: 'way back carried 600000 bytes',
    },
    { title: 'nothing was killed', report: { ...good, killed: null }, says: 'kill of the server' },
    { title: 'too much was sent again', report: { ...good, killed: { ...good.killed, resentBytes: (4 << 20) + 1 } }, says: 'sent again' },
    { title: 'it is empty', report: {}, says: 'three sites' },
  ])('is refused when $title', ({ report, says }) => {
    expect(broken(report).join('\n')).toContain(says);
  });
});
