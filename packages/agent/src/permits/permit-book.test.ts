import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { agentDnsName, type Permit, type Surrender } from '@virt8ra/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openQuarantine } from '../disk/quarantine.js';
import { silentLog } from '../log.js';
import type { BootClock } from '../system/boot-clock.js';
import { createTestAuthority, type TestAuthority } from '../testing/test-authority.js';
import { evidenceFault, type HostSigner, signSurrender } from './evidence.js';
import { PermitBook } from './permit-book.js';
import { openPermitJournal, type PermitJournal, readPermitJournal } from './permit-journal.js';

let folder: string;
let authority: TestAuthority;
let alpha: HostSigner;
let beta: HostSigner;
let files = 0;
const journals: PermitJournal[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'v8p-'));
  authority = await createTestAuthority();
  alpha = { host: 'alpha', ...(await authority.hostKey('alpha')) };
  beta = { host: 'beta', ...(await authority.hostKey('beta')) };
});
afterAll(async () => {
  for (const journal of journals) await journal.close();
  rmSync(folder, { recursive: true, force: true });
});

class TestClock implements BootClock {
  bootId = 'boot-1';
  boot = 1_000_000;
  wall = Date.now();
  sinceBootMs(): number {
    return this.boot;
  }
  wallMs(): number {
    return this.wall;
  }
  pass(ms: number): void {
    this.boot += ms;
    this.wall += ms;
  }
}

const newFile = () => {
  files += 1;
  return join(folder, `permits-${files}.jsonl`);
};
const openJournal = async (file: string, expected = false) =>
  await openPermitJournal(file, { quarantine: openQuarantine(folder, silentLog), expected, now: () => new Date() });
const open = async (file: string, signer: HostSigner, clock: BootClock = new TestClock(), expected = false) => {
  const journal = await openJournal(file, expected);
  journals.push(journal);
  return { journal, book: new PermitBook({ journal, signer: () => signer, ca: authority.certificate, clock, marginMs: 5_000 }) };
};
const promise = (signer: HostSigner, epoch: number, instance = 'res_1', at = new Date().toISOString()): Surrender =>
  signSurrender({ statement: 'released', instance, epoch, at }, signer);

describe('the permit book', () => {
  it('lets the holder of epoch 1 run, and nobody else', async () => {
    const { book } = await open(newFile(), alpha);
    expect(book.judge('res_1', { epoch: 1, holder: 'alpha' }, undefined)).toEqual({ ok: true });
    expect(book.judge('res_1', { epoch: 1, holder: 'beta' }, undefined)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('belongs to beta'),
    });
    expect(book.judge('res_1', undefined, undefined).ok).toBe(false);
  });

  it('wants evidence of exactly the epoch before, from epoch 2 on', async () => {
    const { book } = await open(newFile(), alpha);
    const permit = (evidence?: Surrender): Permit => ({ epoch: 3, holder: 'alpha', ...(evidence === undefined ? {} : { evidence }) });
    expect(book.judge('res_1', permit(promise(beta, 2)), undefined)).toEqual({ ok: true });
    expect(book.judge('res_1', permit(), undefined).ok).toBe(false);
    expect(book.judge('res_1', permit(promise(beta, 1)), undefined).ok).toBe(false);
    expect(book.judge('res_1', permit(promise(beta, 3)), undefined).ok).toBe(false);
    expect(book.judge('res_1', permit(promise(beta, 2, 'res_2')), undefined).ok).toBe(false);
  });

  it('never runs an epoch it gave up, nor a smaller one, also from a journal read anew', async () => {
    const file = newFile();
    const first = await open(file, alpha);
    await first.book.hold('res_1', 1);
    const surrender = await first.book.surrender('res_1', 1);
    expect(surrender).toMatchObject({ statement: 'released', epoch: 1, host: 'alpha' });
    await first.journal.close();
    const { book } = await open(file, alpha);
    expect(book.judge('res_1', { epoch: 1, holder: 'alpha' }, undefined).ok).toBe(false);
    await expect(book.hold('res_1', 1)).rejects.toMatchObject({ kind: 'conflict' });
    expect(book.hasSurrendered('res_1', 1)).toBe(true);
    expect(evidenceFault((await book.surrender('res_1', 1)) ?? surrender, 'res_1', 1, authority.certificate)).toBeUndefined();
  });

  it('says refused when it never ran the epoch, and repeats its first answer', async () => {
    const { book } = await open(newFile(), alpha);
    const once = await book.surrender('res_1', 4);
    expect(once.statement).toBe('refused');
    expect(await book.surrender('res_1', 4)).toEqual(once);
    expect((await book.surrender('res_1', 3)).epoch).toBe(3);
    expect(book.lastSurrender('res_1')?.epoch).toBe(4);
  });

  it('takes time from the clock that cannot be turned back', async () => {
    const clock = new TestClock();
    const { book } = await open(newFile(), alpha, clock);
    const permit: Permit = { epoch: 1, holder: 'alpha', expiresAt: new Date(clock.wall + 60_000).toISOString() };
    const anchor = book.anchor(permit);
    expect(book.remainingMs(permit, anchor)).toBe(55_000);
    clock.pass(30_000);
    expect(book.remainingMs(permit, anchor)).toBe(25_000);
    // Somebody turns the wall clock back by an hour.
    clock.wall -= 3_600_000;
    expect(book.remainingMs(permit, anchor)).toBe(25_000);
    clock.pass(25_000);
    expect(book.judge('res_1', permit, anchor).ok).toBe(false);
  });

  it('believes after a reboot only a wall clock that did not go back', async () => {
    const clock = new TestClock();
    const { book } = await open(newFile(), alpha, clock);
    const permit: Permit = { epoch: 1, holder: 'alpha', expiresAt: new Date(clock.wall + 60_000).toISOString() };
    const anchor = book.anchor(permit);
    clock.bootId = 'boot-2';
    clock.boot = 10_000;
    clock.wall += 20_000;
    expect(book.remainingMs(permit, anchor)).toBe(35_000);
    clock.wall -= 30_000;
    expect(book.remainingMs(permit, anchor)).toBe(0);
    expect(book.remainingMs(permit, undefined)).toBe(0);
  });

  it('never lets two hosts run one instance, however late, often and out of order grants arrive', async () => {
    // The control plane grants each epoch once, on the promise of the holder before. Everything after that goes wrong: old grants come
    // again, at the wrong host, hosts are restarted at any time, and their journals are lost in part or altogether. Only what the control
    // plane says over a live link is the newest grant.
    const act = fc.record({
      what: fc.constantFrom('deliver', 'deliver', 'deliver', 'surrender', 'surrender', 'grant', 'grant', 'restart', 'damage', 'connect'),
      host: fc.constantFrom<'alpha' | 'beta'>('alpha', 'beta'),
      pick: fc.nat({ max: 20 }),
    });
    let handovers = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 30, maxLength: 80 }), async (acts) => {
        const hosts = {
          alpha: { file: newFile(), signer: alpha, running: false },
          beta: { file: newFile(), signer: beta, running: false },
        };
        const opened = { alpha: await open(hosts.alpha.file, alpha), beta: await open(hosts.beta.file, beta) };
        const grants: Permit[] = [{ epoch: 1, holder: 'alpha' }];
        const promises: Surrender[] = [];
        for (const { what, host, pick } of acts) {
          const { book, journal } = opened[host];
          const last = grants.at(-1);
          if (what === 'restart') {
            await journal.close();
            opened[host] = await open(hosts[host].file, hosts[host].signer);
            hosts[host].running = false;
          } else if (what === 'damage') {
            await journal.close();
            const lines = readFileSync(hosts[host].file, 'utf8').split('\n');
            lines[pick % (lines.length - 1)] = '\0\0\0';
            await writeFile(hosts[host].file, pick > 15 ? '' : lines.join('\n'));
            opened[host] = await open(hosts[host].file, hosts[host].signer, new TestClock(), true);
            // The guest outlived it, or did not.
            if (hosts[host].running && pick % 2 === 0 && last !== undefined) await opened[host].book.prove('res_1', last.epoch);
            else hosts[host].running = false;
          } else if (what === 'connect') {
            if (last?.holder === host && !promises.some((made) => made.epoch === last.epoch)) await book.confirm('res_1', last);
          } else if (what === 'surrender' && last?.holder === host) {
            hosts[host].running = false;
            promises.push(await book.surrender('res_1', last.epoch));
          } else if (what === 'grant') {
            const evidence = promises.find((made) => made.epoch === last?.epoch && made.host === last.holder);
            if (evidence !== undefined) grants.push({ epoch: evidence.epoch + 1, holder: host, evidence });
          } else if (what === 'deliver') {
            const permit = grants[pick % grants.length];
            if (permit === undefined || !book.judge('res_1', permit, undefined).ok) continue;
            await book.hold('res_1', permit.epoch);
            if (permit.epoch > 1 && permit.evidence?.host !== host) handovers += 1;
            hosts[host].running = true;
          }
          expect(hosts.alpha.running && hosts.beta.running).toBe(false);
        }
        await opened.alpha.journal.close();
        await opened.beta.journal.close();
      }),
      { numRuns: 60, seed: fc.readConfigureGlobal().seed ?? 8 },
    );
    expect(handovers).toBeGreaterThan(10);
  });
});

describe('evidence', () => {
  it('is refused when anything in it was changed, or another CA stands behind it', async () => {
    const good = promise(beta, 1);
    expect(evidenceFault(good, 'res_1', 1, authority.certificate)).toBeUndefined();
    for (const change of [
      { at: '2031-01-01T00:00:00.000Z' },
      { host: 'gamma' },
      { statement: 'refused' as const },
      { signature: promise(beta, 2).signature },
    ]) {
      expect(evidenceFault({ ...good, ...change }, 'res_1', 1, authority.certificate), JSON.stringify(change)).toBeDefined();
    }
    const stranger = await createTestAuthority();
    const forged = signSurrender(
      { statement: 'released', instance: 'res_1', epoch: 1, at: new Date().toISOString() },
      { host: 'beta', ...(await stranger.hostKey('beta')) },
    );
    expect(evidenceFault(forged, 'res_1', 1, authority.certificate)).toContain('not of this control plane');
    expect(evidenceFault({ ...good, certificate: 'nonsense' }, 'res_1', 1, authority.certificate)).toContain('cannot be read');
  });

  it('is refused when a host signs in the name of another', () => {
    const lie = signSurrender(
      { statement: 'released', instance: 'res_1', epoch: 1, at: new Date().toISOString() },
      { ...alpha, host: 'beta' },
    );
    expect(evidenceFault(lie, 'res_1', 1, authority.certificate)).toContain(agentDnsName('beta'));
  });
});

describe('the permit journal', () => {
  it('cuts off a last line that was never finished', async () => {
    const file = newFile();
    const first = await open(file, alpha);
    await first.book.hold('res_1', 1);
    await first.journal.close();
    await appendFile(file, '{"type":"surrendered","inst');
    const second = await open(file, alpha);
    expect(second.book.lostAt).toBeUndefined();
    expect(second.book.judge('res_1', { epoch: 1, holder: 'alpha' }, undefined).ok).toBe(true);
    await second.book.surrender('res_1', 1);
    await second.journal.close();
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(4);
  });

  it('believes no permit after other damage, until the control plane says it again or a running guest proves it', async () => {
    const file = newFile();
    const first = await open(file, alpha);
    await first.book.hold('res_1', 1);
    await first.book.surrender('res_2', 3);
    await first.journal.close();
    const whole = readFileSync(file, 'utf8');
    await writeFile(file, whole.replace('"held"', '"hexd"'));
    const permit: Permit = { epoch: 1, holder: 'alpha' };
    const second = await open(file, alpha);
    expect(second.book.lostAt).toBeDefined();
    for (const instance of ['res_1', 'res_9'])
      expect(second.book.judge(instance, permit, undefined)).toMatchObject({
        ok: false,
        reason: expect.stringContaining('damaged or lost'),
      });
    // What can still be read still binds, whatever is said again.
    await second.book.confirm('res_2', { epoch: 3, holder: 'alpha' });
    expect(second.book.judge('res_2', { epoch: 3, holder: 'alpha', evidence: promise(beta, 2, 'res_2') }, undefined).ok).toBe(false);
    await second.book.confirm('res_9', { epoch: 1, holder: 'beta' });
    expect(second.book.judge('res_9', permit, undefined).ok).toBe(false);
    await second.book.prove('res_1', 1);
    await second.book.confirm('res_9', permit);
    await second.journal.close();
    // The damaged journal lies in the quarantine as it was.
    const kept = (await openQuarantine(folder, silentLog).list()).find(({ from }) => from === file);
    expect(readFileSync(join(kept?.directory ?? '', basename(file)), 'utf8')).toBe(whole.replace('"held"', '"hexd"'));
    const third = await open(file, alpha);
    for (const instance of ['res_1', 'res_9']) expect(third.book.judge(instance, permit, undefined).ok).toBe(true);
    expect(third.book.judge('res_8', permit, undefined).ok).toBe(false);
    // Giving up never needs a proof, and does not claim that it never ran.
    expect((await third.book.surrender('res_8', 1)).statement).toBe('released');
    await third.journal.close();
  });

  it('can be read without touching it, and names the line that is damaged', async () => {
    const file = newFile();
    expect(await readPermitJournal(file)).toEqual([]);
    expect(existsSync(file)).toBe(false);
    const { book, journal } = await open(file, alpha);
    await book.surrender('res_1', 1);
    expect(await readPermitJournal(file)).toEqual(journal.entries);
    await journal.close();
    const text = `${readFileSync(file, 'utf8')}nonsense\n{"type":`;
    await writeFile(file, text);
    await expect(readPermitJournal(file)).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining(`${file}:3`) });
    expect(readFileSync(file, 'utf8')).toBe(text);
  });

  it('is missed where it was before, and new where nothing was', async () => {
    const permit: Permit = { epoch: 1, holder: 'alpha' };
    const fresh = await open(newFile(), alpha);
    expect(fresh.book.judge('res_1', permit, undefined).ok).toBe(true);
    const gone = await open(newFile(), alpha, new TestClock(), true);
    expect(gone.book.judge('res_1', permit, undefined).ok).toBe(false);
    const file = newFile();
    await (await open(file, alpha)).journal.close();
    const emptied = await open(file, alpha, new TestClock(), true);
    expect(emptied.book.lostAt).toBeUndefined();
    await emptied.journal.close();
    await writeFile(file, '');
    expect((await open(file, alpha, new TestClock(), true)).book.lostAt).toBeDefined();
  });
});
