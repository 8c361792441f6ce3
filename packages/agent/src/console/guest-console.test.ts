import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endedBecause, type StreamNote, streamWindowBytes } from '@virt8ra/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tendSerialLog } from '../qemu/serial-log.js';
import { carrierPairs, type HeardEnd } from '../testing/carrier-pair.js';
import { GuestConsole } from './guest-console.js';
import { keptOctets } from './serial-tail.js';

let folder: string;
let log: string;
let guest: Server;
let pairs: Awaited<ReturnType<typeof carrierPairs>>;
let connections: Socket[];
let typed: string;
let changed: () => void;
let console_: GuestConsole;
let emptied: { times: number };

/** Stands for QEMU: one socket for input, and a log it appends to whatever happens. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'v8c-'));
  log = join(folder, 'serial.log');
  writeFileSync(log, 'past\n');
  connections = [];
  typed = '';
  changed = () => {};
  guest = createServer((socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.on('data', (octets) => {
      typed += octets.toString();
      changed();
    });
    socket.on('close', () => {
      connections = connections.filter((each) => each !== socket);
      changed();
    });
  });
  await new Promise<void>((resolve) => guest.listen(join(folder, 'tty'), resolve));
  pairs = await carrierPairs();
  const counted = { times: 0 };
  emptied = counted;
  console_ = await GuestConsole.open(log, join(folder, 'tty'), () => {
    counted.times += 1;
  });
});
afterEach(async () => {
  console_.end(endedBecause('stopping', ''));
  await pairs.close();
  for (const each of connections) each.destroy();
  await new Promise((resolve) => guest.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const says = (text: string) => appendFileSync(log, text);
const attach = async (by: string, write: 'no' | 'free' | 'take' = 'free', scrollbackBytes = 1000): Promise<HeardEnd> => {
  const { here, there } = await pairs.make();
  await console_.attach(here, { by, write, scrollbackBytes });
  await there.until('it is open', () => there.notes.some(({ type }) => type === 'opened'));
  return there;
};
const said = (end: HeardEnd): StreamNote[] => end.notes.filter(({ type }) => type !== 'opened');
const until = async (found: () => boolean): Promise<void> => {
  await new Promise<void>((resolve) => {
    changed = () => {
      if (found()) resolve();
    };
    changed();
  });
};

it('shows the newest of the past and then what comes, each octet once, also over a cut of the log', async () => {
  says('0123456789');
  const ann = await attach('ann', 'no', 4);
  expect(ann.notes[0]).toEqual({ type: 'opened', writer: false, others: [], scrollbackBytes: 4 });
  let expected = '6789';
  for (let round = 0; round < 400; round += 1) {
    const text = `line ${round}\n`;
    says(text);
    expected += text;
    if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (round % 100 !== 50) continue;
    // A log is cut when a megabyte was shown since the last cut, and not before that was read.
    await ann.until('it follows', () => ann.text.length >= expected.length);
    await tendSerialLog(log, 10);
  }
  await ann.until('all of it came', () => ann.text.length >= expected.length);
  expect(ann.text).toBe(expected);
  // Whoever comes now sees across the last cut.
  const bob = await attach('bob', 'no', 700);
  await bob.until('the past came', () => bob.text.length >= 700);
  expect(bob.text).toBe(expected.slice(-700));
  expect((await keptOctets(log)).toString()).toBe(expected.slice(-(await keptOctets(log)).length));
});

it('lets one write and tells everybody who does', async () => {
  const ann = await attach('ann');
  const bob = await attach('bob');
  const eve = await attach('eve', 'no');
  expect(bob.notes[0]).toMatchObject({ writer: false, others: [{ by: 'ann', writer: true }] });
  ann.carrier.send(Buffer.from('from ann\n'));
  bob.carrier.send(Buffer.from('from bob\n'));
  bob.carrier.send(Buffer.from('from bob\n'));
  await bob.until('he is told that he is not heard', () => said(bob).some(({ type }) => type === 'unheard'));
  await until(() => typed === 'from ann\n');

  const dan = await attach('dan', 'take');
  expect(dan.notes[0]).toMatchObject({ writer: true });
  await ann.until('ann is told', () => said(ann).some((note) => note.type === 'said' && note.event === 'writes' && note.by === 'dan'));
  dan.carrier.send(Buffer.from('from dan\n'));
  await until(() => typed.endsWith('from dan\n'));

  dan.carrier.end(endedBecause('closed', ''));
  // Ann has waited longest among those who want to write.
  await ann.until('she writes again', () => said(ann).some((note) => note.type === 'said' && note.you === true));
  ann.carrier.send(Buffer.from('again\n'));
  await until(() => typed.endsWith('again\n'));
  expect(typed).toBe('from ann\nfrom dan\nagain\n');
  expect(said(eve)).toEqual([
    { type: 'said', event: 'joined', by: 'dan' },
    { type: 'said', event: 'writes', by: 'dan' },
    { type: 'said', event: 'left', by: 'dan' },
    { type: 'said', event: 'writes', by: 'ann' },
  ]);
  expect(said(bob).filter(({ type }) => type === 'unheard')).toHaveLength(1);
});

it('is connected to the guest only while somebody writes, so that nothing of ours can hold its console up', async () => {
  const eve = await attach('eve', 'no');
  expect(connections).toHaveLength(0);
  const ann = await attach('ann');
  ann.carrier.send(Buffer.from('x'));
  await until(() => typed === 'x');
  // What QEMU says there is read and dropped: the log has it.
  connections[0]?.write(Buffer.alloc(1024 * 1024));
  await new Promise<void>((resolve) => connections[0]?.write('!', () => resolve()));
  ann.carrier.end(endedBecause('closed', ''));
  await until(() => connections.length === 0);
  says('alone\n');
  await eve.until('she still sees', () => eve.text.endsWith('alone\n'));
});

it('lets a slow reader miss output and tells how much, and keeps little for it', async () => {
  const slow = await attach('slow', 'no', 0);
  const quick = await attach('quick', 'no', 0);
  slow.carrier.pause();
  const piece = `${'x'.repeat(1023)}\n`.repeat(64);
  const pieces = 1024;
  for (let written = 0; written < pieces; written += 1) {
    says(piece);
    if (written % 8 === 0) await tendSerialLog(log);
    if (written % 4 === 0) await quick.until('it follows', () => quick.text.length >= (written - 8) * piece.length);
  }
  await quick.until('it has all', () => quick.text.length === pieces * piece.length);
  slow.carrier.resume();
  const missed = await slow.until('it is told', () => slow.notes.find((note) => note.type === 'missed'));
  says('last\n');
  await slow.until('it is back', () => slow.text.endsWith('last\n'));
  const total = slow.notes.reduce((sum, note) => (note.type === 'missed' ? sum + note.octets : sum), 0);
  expect(missed.type).toBe('missed');
  expect(slow.text.length + total).toBe(pieces * piece.length + 'last\n'.length);
  // Our window and what the two kernels hold.
  expect(slow.text.length).toBeLessThan(streamWindowBytes + 16 * 1024 * 1024);
}, 60_000);

it('ends a caller that says what it may not, and everybody with the guest', async () => {
  const ann = await attach('ann');
  const eve = await attach('eve', 'no');
  eve.carrier.send({ type: 'missed', octets: 1 });
  expect(await eve.until('she is out', () => eve.ended)).toMatchObject({ code: 'protocol' });
  console_.end(endedBecause('moved', 'the instance moves to another host'));
  expect(await ann.until('she is told', () => ann.ended)).toMatchObject({ code: 'moved' });
  expect(emptied.times).toBe(1);
});
