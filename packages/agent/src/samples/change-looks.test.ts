import { beforeEach, describe, expect, it } from 'vitest';
import { ChangeLooks, type WatchedChanges } from './change-looks.js';

let now: number;
let asked: string[];
let changed: Map<string, number>;
let fails: string | undefined;

/** A guest that answers, and says what it was asked. */
const guest: WatchedChanges = {
  begin: async () => await say('begin'),
  async count() {
    await say('count');
    return new Map(changed);
  },
  end: async () => await say('end'),
  beginMemory: async () => await say('memory'),
  async memoryPerSecond() {
    await say('memory?');
    return 3;
  },
};
async function say(word: string): Promise<void> {
  asked.push(word);
  if (fails === word) throw new Error('QEMU is gone');
}

beforeEach(() => {
  now = 0;
  asked = [];
  changed = new Map([['v1', 0]]);
  fails = undefined;
});

describe('looks at what a guest changes', () => {
  const quiet = { turn: false, writes: true, busy: false };

  it('count each place once, twice within one record, and then take the record away', async () => {
    const looks = new ChangeLooks(() => now);
    await looks.look(guest, { ...quiet, turn: true });
    expect(looks.figures).toEqual({});
    now = 10_000;
    changed.set('v1', 100);
    await looks.look(guest, quiet);
    now = 20_000;
    changed.set('v1', 150);
    await looks.look(guest, { ...quiet, turn: true });
    expect(looks.figures).toEqual({
      memoryChangedPerSecond: 3,
      changes: {
        at: expect.any(String),
        disks: [
          {
            key: 'v1',
            looks: [
              { seconds: 10, bytes: 100 },
              { seconds: 20, bytes: 150 },
            ],
          },
        ],
      },
    });
    expect(asked.filter((word) => !word.startsWith('memory'))).toEqual(['begin', 'count', 'count', 'end']);
    await looks.look(guest, quiet);
    expect(asked.filter((word) => word === 'begin')).toHaveLength(1);
  });

  it('ask nothing of the disks of a guest that writes nothing', async () => {
    const looks = new ChangeLooks(() => now);
    await looks.look(guest, { ...quiet, turn: true, writes: false });
    expect(looks.figures).toMatchObject({ changes: { disks: [] } });
    expect(asked).toEqual(['memory']);
  });

  it('end with a move, and keep what was known before it', async () => {
    const looks = new ChangeLooks(() => now);
    await looks.look(guest, { ...quiet, turn: true, writes: false });
    await looks.look(guest, { ...quiet, turn: true });
    await looks.look(guest, { ...quiet, busy: true, turn: true });
    expect(asked).toContain('end');
    expect(looks.figures).toMatchObject({ changes: { disks: [] } });
    const before = asked.length;
    await looks.look(guest, { ...quiet, busy: true });
    expect(asked.length).toBe(before);
  });

  it('leave no record behind when something cannot be asked', async () => {
    const looks = new ChangeLooks(() => now);
    await looks.look(guest, { ...quiet, turn: true });
    fails = 'count';
    await looks.look(guest, quiet);
    expect(asked.at(-1)).toBe('end');
    expect(looks.figures).not.toHaveProperty('changes');
  });
});
