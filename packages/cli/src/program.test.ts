import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { blockStorage, host, imageImport, instance, migration, network, nic, site, subnet, workspace } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from './testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

const inW = (name: string) => ({ tenant: 't', workspace: 'w', name });
const web = inW('web');
const spec = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };

function write(name: string, text: string): string {
  const path = join(home.folder, name);
  writeFileSync(path, text);
  return path;
}

const stack = `
kind: instance
metadata: { name: web }
spec:
  zone: any
  skuRef: skus/S
  bootVolume: { deviceRef: block-storages/root }
---
kind: disk
metadata: { name: root }
labels: { env: prod }
spec: { sizeGB: 10, skuRef: skus/D }
---
kind: nic
metadata: { name: eth0 }
spec: { addresses: [0.0.0.0], subnetRef: networks/net/subnets/front }
---
kind: subnet
metadata: { name: front, network: net }
spec: { cidr: { ipv4: 10.0.0.0/24 } }
---
kind: network
metadata: { name: net }
spec: { cidr: { ipv4: 10.0.0.0/16 }, skuRef: skus/N }
---
kind: workspace
metadata: { name: w }
`;

describe('login', () => {
  it('takes the token from standard input, keeps it for its owner only and never prints it', async () => {
    const done = await home.run(['login', '--server', plane.url, '--name', 'mine', '--tenant', 'acme'], { stdin: `${plane.token}\n` });
    expect(done).toMatchObject({ code: 0, err: '' });
    const path = join(home.folder, 'config/virt8ra/config.json');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ current: 'mine', contexts: { mine: { tenant: 'acme' }, test: {} } });
    const shown = await home.run(['context', 'list', '-o', 'json']);
    const text = done.out + shown.out + (await home.run(['context', 'show'])).out;
    expect(text).toContain('mine');
    expect(text).not.toContain(plane.token);
  });

  it('saves nothing when the server refuses the token', async () => {
    const done = await home.run(['login', '--server', plane.url, '--name', 'mine'], { variables: { VIRT8RA_TOKEN: 'foreign' } });
    expect(done.code).toBe(3);
    expect((await home.run(['context', 'list', '-o', 'name'])).out).toBe('test\n');
  });

  it('changes and forgets contexts', async () => {
    expect((await home.run(['context', 'use', 'test', '--workspace', 'other'])).code).toBe(0);
    expect((await home.run(['context', 'show', '-o', 'json'])).out).toContain('"workspace": "other"');
    expect((await home.run(['context', 'delete', 'test'])).code).toBe(0);
    expect(await home.run(['get', 'sites'])).toMatchObject({ code: 3, err: expect.stringContaining('virt8ra login') });
    expect((await home.run(['context', 'use', 'test'])).code).toBe(4);
  });

  it('lets the environment go before the context', async () => {
    const variables = { VIRT8RA_SERVER: plane.url, VIRT8RA_TOKEN: plane.token, VIRT8RA_TENANT: 'u', VIRT8RA_WORKSPACE: 'v' };
    plane.set(instance, { tenant: 'u', workspace: 'v', name: 'there' }, { spec });
    expect((await home.run(['get', 'instances', '-o', 'name'], { variables })).out).toBe('instance/there\n');
  });
});

describe('apply', () => {
  it('makes things in the order of need, then finds them unchanged, then updates what differs', async () => {
    const file = write('stack.yaml', stack);
    const first = await home.run(['apply', '-f', file]);
    expect(first).toMatchObject({
      code: 0,
      out: 'workspace/w created\nnetwork/net created\nsubnet/front created\nnic/eth0 created\nblock-storage/root created\ninstance/web created\n',
    });
    expect(plane.get(subnet, { ...inW('front'), network: 'net' })?.spec).toEqual({ cidr: { ipv4: '10.0.0.0/24' } });
    const puts = plane.seen.filter((each) => each.method === 'PUT').length;
    const second = await home.run(['apply', '-f', file]);
    expect(second.out.match(/ unchanged$/gm)).toHaveLength(6);
    expect(plane.seen.filter((each) => each.method === 'PUT')).toHaveLength(puts);
    const third = await home.run(['apply', '-f', '-'], { stdin: stack.replace('env: prod', 'env: test') });
    expect(third.out).toContain('block-storage/root updated\n');
    expect(plane.get(blockStorage, inW('root'))?.labels).toEqual({ env: 'test' });
  });

  it('applies again what get printed, as YAML and as JSON', async () => {
    await home.run(['apply', '-f', write('stack.yaml', stack)]);
    for (const format of ['yaml', 'json']) {
      const printed = await home.run(['get', 'instances', '-o', format]);
      expect(await home.run(['apply', '-f', '-'], { stdin: printed.out })).toMatchObject({ code: 0, out: 'instance/web unchanged\n' });
    }
  });

  it('asks for another try of what is in error', async () => {
    const text = 'kind: disk\nmetadata: { name: root }\nspec: { sizeGB: 10, skuRef: skus/D }\n';
    await home.run(['apply', '-f', '-'], { stdin: text });
    plane.setStatus(blockStorage, inW('root'), { state: 'error' });
    expect((await home.run(['apply', '-f', '-'], { stdin: text })).out).toBe('block-storage/root retried\n');
  });

  it('tells every fault with file, line and pointer, and sends nothing', async () => {
    const file = write(
      'bad.yaml',
      'kind: instance\nmetadata:\n  name: Web_1\nspec:\n  zone: 5\n  skuRef: skus/S\n  cores: 3\n---\nkind: rocket\n---\nkind: disk\nmetadata: { name: d }\nspec: { sizeGB: 0, skuRef: x }\n',
    );
    const done = await home.run(['apply', '-f', file]);
    expect(done.code).toBe(2);
    expect(done.err).toContain(`${file}:3: /metadata/name`);
    expect(done.err).toContain(`${file}:5: /spec/zone must be string`);
    expect(done.err).toContain(`${file}:7: /spec/cores is not a known field`);
    expect(done.err).toMatch(/bad\.yaml:\d+: \/spec lacks bootVolume/);
    expect(done.err).toContain(`${file}:9: /kind there is no kind "rocket"`);
    expect(done.err).toContain(`${file}:13: /spec/sizeGB must be >= 1`);
    expect(plane.seen).toHaveLength(0);
  });

  it('says the line of YAML that cannot be read', async () => {
    expect(await home.run(['apply', '-f', write('broken.yaml', 'kind: instance\nmetadata: {name: x\n')])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/broken\.yaml:[23]: /),
    });
    expect((await home.run(['apply', '-f', 'absent.yaml'])).err).toContain('it does not exist');
  });

  it('checks only, in a dry run', async () => {
    const done = await home.run(['apply', '--dry-run', '-f', write('stack.yaml', stack)]);
    expect(done).toMatchObject({ code: 0, out: expect.stringContaining('instance/web valid (dry run)') });
    expect(plane.seen).toHaveLength(0);
  });

  it('stops at the first refusal and says what was done', async () => {
    const file = write('stack.yaml', stack);
    await home.run(['apply', '-f', file]);
    plane.remove(nic, inW('eth0'));
    plane.faults.push({ method: 'PUT', status: 409 });
    const done = await home.run(['apply', '-f', file]);
    expect(done.code).toBe(5);
    expect(done.out).not.toContain('block-storage');
    expect(done.err).toContain('error: nic/eth0');
    expect(done.err).toContain('3 of 6 documents were applied before (0 changed)');
  });

  it('waits for each kind before the next', async () => {
    plane.onChange = (kind, address, verb) => {
      if (verb !== 'put') return;
      plane.setStatus(kind, address, { state: 'creating' });
      setTimeout(() => plane.setStatus(kind, address, { state: 'active' }), 30);
    };
    const done = await home.run(['apply', '--wait', '--timeout', '20s', '-f', write('stack.yaml', stack)]);
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(plane.get(instance, web)?.status).toMatchObject({ state: 'active' });
  });

  it('deletes the documents the other way round, each gone before what it used', async () => {
    const file = write('stack.yaml', stack);
    await home.run(['apply', '-f', file]);
    const order: string[] = [];
    plane.onChange = (kind, address, verb) => {
      if (verb !== 'delete') return;
      order.push(kind.kind);
      setTimeout(() => plane.remove(kind, address), 20);
    };
    expect((await home.run(['delete', '--wait', '-f', file])).code).toBe(0);
    expect(order).toEqual(['instance', 'block-storage', 'nic', 'subnet', 'network', 'workspace']);
    expect(plane.get(network, inW('net'))).toBeUndefined();
  });
});

describe('get', () => {
  it('prints tables, names, labels and the last sighting of what is unknown', async () => {
    const observedAt = new Date(Date.now() - 125_000).toISOString();
    const activity = { value: 'unknown', source: 'agent/h1', observedAt };
    const placement = { site: 'north', host: 'h1', cause: 'placement', reason: 'most memory free', revision: 1 };
    const conditions = [{ state: 'active', lastTransitionAt: observedAt, type: 'Placed', reason: 'Fits', message: 'at north' }];
    plane.set(instance, web, {
      spec,
      labels: { env: 'prod' },
      status: { state: 'active', conditions, powerState: 'on', activity, placement },
    });
    plane.set(instance, inW('db'), { spec });
    const table = await home.run(['get', 'vms']);
    expect(table.out).toMatch(/^NAME +STATE +ACTIVITY +SITE +ADDRESSES +SKU +AGE\n/);
    expect(table.out).toMatch(/web +active +unknown \(last seen 2m ago: running\) +north +- +S +\d+s/);
    expect(table.out).not.toContain('\u001b');
    expect((await home.run(['get', 'instance', '-l', 'env=prod', '-o', 'name'])).out).toBe('instance/web\n');
    expect((await home.run(['get', 'instances', '--limit', '1', '-o', 'name'])).out).toBe('instance/db\n');
    expect((await home.run(['get', 'instance/web', 'instance/db', '-o', 'wide'])).out).toContain('h1');
    expect(JSON.parse((await home.run(['get', 'instance', 'web', '-o', 'json'])).out)).toMatchObject({ metadata: { name: 'web' } });
    const described = await home.run(['describe', 'instance', 'web']);
    expect(described.out).toMatch(/activity +unknown +2m +agent\/h1/);
    expect(described.out).toContain('site north, host h1 by placement: most memory free (revision 1)');
    expect(described.out).toMatch(/2m +active +Placed +Fits: at north/);
  });

  it('gathers every workspace, and subnets of every network', async () => {
    for (const name of ['w', 'v']) {
      plane.set(workspace, { tenant: 't', name }, {});
      plane.set(instance, { tenant: 't', workspace: name, name: `in-${name}` }, { spec });
      plane.set(network, { tenant: 't', workspace: name, name: 'net' }, { spec: { cidr: {} } });
    }
    plane.set(subnet, { ...inW('front'), network: 'net' }, { spec: { cidr: {} } });
    const all = await home.run(['get', 'instances', '-A']);
    expect(all.out).toMatch(/^WORKSPACE +NAME/);
    expect(all.out).toContain('in-v');
    expect(await home.run(['get', 'subnets', '-o', 'name'])).toMatchObject({ err: '', out: 'subnet/front\n' });
  });

  it('makes escape codes in names and reasons harmless', async () => {
    plane.set(site, { name: 'a' }, { spec: { accountRef: 'x', country: '\u001b[2J\u001b]0;owned\u0007PL', tier: 'edge' } });
    expect((await home.run(['sites'])).out).not.toContain('\u001b');
  });
});

describe('errors', () => {
  it('helps, and ends with the exit code of the problem table', async () => {
    const cases: [string[], number, RegExp][] = [
      [['get', 'instance', 'absent'], 4, /error: .*absent.*\nhint: "virt8ra get KIND"/],
      [['get', 'rockets'], 2, /no kind "rockets".*virt8ra kinds/],
      [['frobnicate'], 2, /unknown command/],
      [['get', 'instances', '-o', 'xml'], 2, /Allowed choices are table, wide, json, yaml, name/],
      [['get', 'instance', '../etc'], 2, /no kind ".."/],
      [['get', 'instances', '--limit', 'x'], 2, /--limit x: write a whole number/],
      [['wait', 'instance', 'web', '--for', 'luck'], 2, /cannot wait for "luck"/],
      [['get', 'instances', '--context', 'nowhere'], 4, /no context "nowhere"; known are test/],
      [['migrate', 'web'], 2, /required option '--to <site>'/],
    ];
    for (const [words, code, text] of cases) {
      const done = await home.run(words);
      expect({ words, code: done.code }).toEqual({ words, code });
      expect(done.err).toMatch(text);
    }
  });

  it('says that a token is not accepted, and where the URL came from when nothing listens', async () => {
    expect(await home.run(['get', 'sites'], { variables: { VIRT8RA_TOKEN: 'foreign' } })).toMatchObject({
      code: 3,
      err: expect.stringContaining('virt8ra login'),
    });
    await plane.stop();
    const { code, err } = await home.run(['get', 'sites']);
    expect(code).toBe(8);
    expect(err).toContain(`cannot reach ${plane.url}: connection refused`);
    expect(err).toContain('context test');
    plane = await startTestControlPlane();
  });
});

describe('wait and watch', () => {
  it('ends when the goal is reached', async () => {
    plane.set(instance, web, { spec, status: { state: 'creating', conditions: [], powerState: 'off' } });
    const waiting = home.start(['wait', 'instance', 'web', '--for', 'power=on', '--timeout', '20s']);
    await plane.streamOpened();
    plane.cutStreams();
    plane.setStatus(instance, web, { powerState: 'on' });
    expect(await waiting.finished).toMatchObject({ code: 0, out: 'instance/web: power=on\n' });
  });

  it('says how far it came at the time limit', async () => {
    const conditions = [
      { state: 'creating', lastTransitionAt: new Date().toISOString(), reason: 'NoRoom', message: 'no site has 4 GiB free' },
    ];
    plane.set(instance, web, { spec, status: { state: 'creating', conditions, powerState: 'off' } });
    const done = await home.run(['wait', 'instance/web', '--for', 'state=active', '--timeout', '0.3s']);
    expect(done.code).toBe(8);
    expect(done.err).toContain('it is creating (NoRoom: no site has 4 GiB free)');
  });

  it('waits for a deletion', async () => {
    plane.set(instance, web, { spec });
    plane.onChange = (kind, address) => setTimeout(() => plane.remove(kind, address), 50);
    expect(await home.run(['delete', 'instance', 'web', '--wait'])).toMatchObject({
      code: 0,
      out: 'instance/web deleting\ninstance/web deleted\n',
    });
  });

  it('prints changes over a cut until it is interrupted', async () => {
    plane.set(instance, web, { spec });
    const watching = home.start(['watch', 'instances']);
    await watching.printed('found');
    plane.setStatus(instance, web, { state: 'updating' });
    await watching.printed('updating');
    plane.cutStreams();
    plane.setStatus(instance, web, { state: 'error' });
    await watching.printed('error');
    watching.child.kill('SIGINT');
    expect((await watching.finished).code).toBe(130);
  });

  it('prints the feed after a cursor', async () => {
    for (const name of ['a', 'b', 'c']) plane.set(workspace, { tenant: 't', name }, {});
    const done = await home.run(['events', '--since', '1', '--limit', '2']);
    expect(done.out).toMatch(/^2 {2}put .*workspaces\/b.*\n3 {2}put .*workspaces\/c/);
  });
});

describe('migrate', () => {
  const names = () => plane.seen.filter((each) => each.method === 'PUT').map((each) => each.path.split('/').at(-1) ?? '');
  const move = () => inW(names().at(-1) ?? '');
  const step = { bytes: 512, totalBytes: 1024, bytesPerSecond: 256, etaSeconds: 2 };
  const finish = (equal = true) => {
    plane.setStatus(migration, move(), {
      phase: 'done',
      to: { site: 'south', host: 'h2' },
      pauseMs: 420,
      bytes: 3 * 1024 ** 2,
      passes: 2,
      digests: [{ disk: 'root', source: 'ab'.repeat(32), target: (equal ? 'ab' : 'cd').repeat(32), equal }],
    });
  };

  it('follows over a cut of the stream and ends with a summary', async () => {
    const moving = home.start(['migrate', 'web', '--to', 'south']);
    await plane.streamOpened();
    plane.setProgress(migration, move(), { phase: 'copy', ...step });
    await moving.printed('copy      [############............]  50%  512 B/1 KiB  256 B/s  ETA 2s');
    plane.cutStreams();
    plane.setProgress(migration, move(), { phase: 'passes', pass: 1, ...step });
    await moving.printed('passes    pass 1');
    finish();
    const done = await moving.finished;
    expect(done.code).toBe(0);
    expect(done.out).toMatch(/^web runs at south on h2 after \d+s \(migration\/web-to-south-[a-z0-9]+, warm\)\n/);
    expect(done.out).toContain('pause     420 ms');
    expect(done.out).toContain('bytes     3 MiB in 2 passes');
    expect(done.out).toContain('digest    root: equal');
    expect(plane.get(migration, move())?.spec).toEqual({ instanceRef: 'instances/web', toSite: 'south', mode: 'warm' });
  });

  it('plans without moving anything, and ends with 5 where something blocks it', async () => {
    const finding = { code: 'snapshots', severity: 'blocks', what: 'it has snapshots', where: 'instance/web', mend: 'delete them' };
    const plan = { instance: 'web', at: '2026-05-01T12:00:00Z', verdict: 'ready', mode: 'warm', rungs: [], ranking: [], findings: [] };
    plane.answers = { 'migration-plans': plan };
    expect(await home.run(['migrate', 'web', '--to', 'south', '--plan'])).toMatchObject({
      code: 0,
      out: 'web can be moved warm. Nothing was changed.\n',
    });
    expect(JSON.parse((await home.run(['migrate', 'web', '--to', 'south', '--plan', '-o', 'json'])).out)).toEqual(plan);
    plane.answers = { 'migration-plans': { ...plan, verdict: 'blocked', findings: [finding] } };
    const blocked = await home.run(['migrate', 'web', '--to', 'south', '--plan', '--no-measure']);
    expect(blocked).toMatchObject({
      code: 5,
      out: expect.stringContaining('snapshots, instance/web: it has snapshots\n          → delete them'),
    });
    expect(names()).toEqual([]);
  });

  it('fails when the digests differ', async () => {
    const moving = home.start(['migrate', 'web', '--to', 'south', '--mode', 'cold']);
    await plane.streamOpened();
    finish(false);
    expect(await moving.finished).toMatchObject({ code: 1, err: expect.stringContaining('digests differ') });
  });

  it('tells why it returned, and that it was cancelled', async () => {
    const failing = home.start(['migrate', 'web', '--to', 'south']);
    await plane.streamOpened();
    plane.setStatus(migration, move(), { phase: 'returned', from: { site: 'north' }, problem: 'target disk is full' });
    const failed = await failing.finished;
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('target disk is full; the instance is back at north');

    const full = home.start(['migrate', 'web', '--to', 'south', '--name', 'full']);
    await plane.streamOpened();
    plane.setStatus(migration, inW('full'), { phase: 'returned', problem: 'the disk is full', problemCode: 'exhausted' });
    expect(await full.finished).toMatchObject({ code: 6, err: expect.stringContaining('the disk is full') });
    expect((await home.run(['wait', 'migration', 'full', '--for', 'phase=done'])).code).toBe(6);

    const other = home.start(['migrate', 'web', '--to', 'south', '--name', 'again']);
    plane.onChange = (kind, address, verb) => {
      if (verb === 'cancel') plane.setStatus(kind, address, { phase: 'returned', problem: 'cancelled by its owner' });
    };
    await other.printed('');
    await plane.streamOpened();
    expect((await home.run(['cancel', 'again', '--wait'])).code).toBe(0);
    expect((await other.finished).code).toBe(7);
  });

  it('leaves it running at an interrupt and says how to follow and to cancel', async () => {
    const moving = home.start(['migrate', 'web', '--to', 'south', '--name', 'm1']);
    await plane.streamOpened();
    plane.setProgress(migration, inW('m1'), { phase: 'copy', ...step });
    await moving.printed('copy');
    moving.child.kill('SIGINT');
    const done = await moving.finished;
    expect(done.code).toBe(130);
    expect(done.err).toContain('migration/m1 goes on');
    expect(done.err).toContain('virt8ra cancel m1');
    expect(plane.seen.some((each) => each.method === 'POST' || each.method === 'DELETE')).toBe(false);
    const again = home.start(['migrate', 'web', '--to', 'south', '--name', 'm1']);
    await plane.streamOpened();
    plane.setStatus(migration, inW('m1'), { phase: 'done' });
    expect((await again.finished).code).toBe(0);
  });

  const noScript = spawnSync('script', ['--version']).error !== undefined;
  it.skipIf(noScript)(`redraws one coloured line on a terminal${noScript ? ' (skipped: no script command here)' : ''}`, async () => {
    const quoted = (command: readonly string[]) => command.map((word) => `'${word}'`).join(' ');
    const through = (command: readonly string[]) => ['script', '-qec', quoted(command), '/dev/null'];
    const moving = home.start(['migrate', 'web', '--to', 'south', '--name', 'm3'], { through, variables: { TERM: 'xterm' } });
    await plane.streamOpened();
    plane.setProgress(migration, inW('m3'), { phase: 'copy', ...step });
    await moving.printed('\r\u001b[Kcopy      [############');
    plane.setProgress(migration, inW('m3'), { phase: 'copy', ...step, bytes: 1024 });
    await moving.printed('\r\u001b[Kcopy      [########################] 100%');
    plane.setStatus(migration, inW('m3'), { phase: 'done' });
    expect((await moving.finished).code).toBe(0);
    plane.set(instance, web, { spec });
    expect((await home.run(['get', 'instances'], { through, variables: { TERM: 'xterm' } })).out).toContain('\u001b[32mactive\u001b[0m');
    const plain = await home.run(['get', 'instances'], { through, variables: { TERM: 'xterm', NO_COLOR: '1' } });
    expect(plain.out).toContain('active');
    expect(plain.out).not.toContain('\u001b[32m');
  });

  it('detaches', async () => {
    expect(await home.run(['migrate', 'web', '--to', 'south', '--name', 'm2', '--detach'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('virt8ra wait migration m2 --for phase=done'),
    });
  });
});

describe('work', () => {
  it('starts an instance and waits until it is seen to run', async () => {
    plane.set(instance, web, { spec });
    plane.onChange = (kind, address, verb) => {
      const activity = { value: 'running', source: 'agent/h1', observedAt: new Date().toISOString() };
      if (verb === 'start') setTimeout(() => plane.setStatus(kind, address, { activity }), 50);
    };
    expect(await home.run(['start', 'web', '--wait'])).toMatchObject({ code: 0, out: expect.stringContaining('activity=running') });
  });

  it('imports an image over a cut and waits until it is made', async () => {
    const content = Buffer.alloc(2_000_000, 'virt8ra');
    plane.onChange = (kind, address, verb) => {
      if (kind === imageImport && verb === 'put') plane.setStatus(kind, address, { phase: 'waiting-for-content' });
      if (verb === 'content' && plane.contentOf('guest').length === content.length) plane.setStatus(kind, address, { phase: 'done' });
    };
    plane.faults.push({ method: 'PATCH', afterBytes: 700_000 });
    writeFileSync(join(home.folder, 'guest.raw'), content);
    expect((await home.run(['image', 'import', 'guest', '--file', 'guest.raw'])).err).toContain('--format raw');
    const done = await home.run(['image', 'import', 'guest', '--file', 'guest.raw', '--format', 'raw']);
    expect(done).toMatchObject({ code: 0, out: 'image/guest ready\n' });
    expect(plane.contentOf('guest').equals(content)).toBe(true);
    expect(plane.get(imageImport, { tenant: 't', name: 'guest' })?.spec).toMatchObject({ source: { upload: { sizeBytes: 2_000_000 } } });
    expect((await home.run(['image', 'import', 'x', '--file', 'guest.raw', '--format', 'raw', '--sha256', '0'.repeat(64)])).code).toBe(2);
  });

  it('enrols a host and prints the command of its agent alone on standard output', async () => {
    const done = await home.run(['enrol', 'h1', '--site', 'north']);
    expect(done).toMatchObject({
      code: 0,
      out: `npm run agent -- run --server https://cp:7443 --token enrol-0123456789abcdef --ca-sha256 ${'a'.repeat(64)}\n`,
    });
    expect(plane.get(host, { name: 'h1' })?.spec).toEqual({ siteRef: 'sites/north' });
    expect(JSON.parse((await home.run(['enrol', 'h1', '-o', 'json'])).out)).toMatchObject({ host: 'h1', site: 'north' });
    expect((await home.run(['enrol', 'h1', '--site', 'south'])).code).toBe(5);
    expect((await home.run(['cordon', 'h1'])).out).toBe('host/h1 cordoned\n');
    expect((await home.run(['rekey', 'h1'])).out).toBe('host/h1 told to make a new key\n');
  });

  it('drains a host, shows how far it is and names what stays', async () => {
    const drain = { phase: 'draining', run: 'run_1', mode: 'auto', allowCold: false, parallel: 2, startedAt: '2026-01-01T00:00:00Z' };
    plane.set(host, { name: 'h1' }, { spec: { siteRef: 'sites/north' }, status: { conditions: [], state: 'active' } });
    plane.onChange = (kind, address, verb) => {
      if (verb === 'drain') plane.setStatus(kind, address, { drain: { ...drain, moved: 1, moving: 1, waiting: 0, blocked: 1 } });
    };
    const draining = home.start(['drain', 'h1', '--wait', '--mode', 'warm', '--parallel', '2']);
    await draining.printed('draining  [########................]  1 of 3 moved, 1 moving, 1 cannot be moved');
    plane.setStatus(
      host,
      { name: 'h1' },
      {
        drain: { ...drain, phase: 'incomplete', finishedAt: '2026-01-01T00:01:00Z', moved: 2, moving: 0, waiting: 0, blocked: 1 },
      },
    );
    const done = await draining.finished;
    expect(done.code).toBe(5);
    expect(done.out).toContain('host/h1 incomplete: 2 moved, 1 left');
    expect(done.out).toMatch(/acme\/prod\/web +stays +- +- +nothing can take it/);
    expect((await home.run(['drain', 'h1', '--dry-run', '-o', 'json'])).out).toContain('"outlook": "stays"');
    expect((await home.run(['drain', 'h1', '--mode', 'hot'])).code).toBe(2);
    const started = await home.run(['drain', 'h1']);
    expect(started).toMatchObject({ code: 0, out: expect.stringContaining('cancel: virt8ra cancel host/h1') });
    expect((await home.run(['maintenance', 'h1'])).out).toContain('host/h1 cordoned');
  });

  it('examines the way to the control plane, and ends with 1 when it is gone', async () => {
    plane.set(
      host,
      { name: 'h1' },
      { spec: { siteRef: 'sites/north' }, status: { state: 'active', conditions: [], cordoned: true, cordonReason: 'new fans' } },
    );
    const broken = await home.run(['doctor']);
    expect(broken.code).toBe(1);
    expect(broken.err).toBe('');
    expect(broken.out).toMatch(/pass +network\/control-plane/);
    expect(broken.out).toMatch(/fail +host\/h1 +it was never connected/);
    expect(broken.out).toMatch(/warn +host\/h1 +it is cordoned: new fans/);
    const connected = { value: true, source: 'agent/h1', observedAt: '2026-01-01T00:00:00Z' };
    const failed = {
      order: 'o',
      version: '2',
      orderedAt: connected.observedAt,
      phase: 'failed',
      problem: { code: 'internal', message: 'it did not link' },
    };
    plane.setStatus(host, { name: 'h1' }, { connected, cordoned: undefined, update: failed });
    const well = await home.run(['doctor', '-o', 'json']);
    expect(well.code).toBe(0);
    expect(well.out).toContain('its last update failed: it did not link');
    expect(JSON.parse(well.out)).toEqual(expect.arrayContaining([{ check: 'client/token', level: 'pass', message: expect.any(String) }]));
    const away = await home.run(['doctor'], { variables: { VIRT8RA_SERVER: 'http://127.0.0.1:1', VIRT8RA_TOKEN: 'x' } });
    expect(away).toMatchObject({ code: 1, out: expect.stringMatching(/fail +network\/control-plane +cannot reach/) });
  });

  it('packs a support bundle without the secrets of resources', async () => {
    const planted = 'PLANTED-0123456789';
    const place = { tenant: 't', workspace: 'w', name: 'web' };
    plane.set(workspace, { tenant: 't', name: 'w' }, {});
    plane.set(instance, place, {
      spec: { userData: planted, sshKeys: [planted], zone: 'any' },
      annotations: { note: `VIRT8RA_TOKEN=${planted}` },
    });
    const file = join(home.folder, 'bundle.tar.gz');
    expect(await home.run(['support-bundle', file])).toMatchObject({ code: 0, out: expect.stringContaining('files') });
    execFileSync('tar', ['-xzf', file, '-C', home.folder]);
    const texts = readdirSync(join(home.folder, 'virt8ra')).map((name) => readFileSync(join(home.folder, 'virt8ra', name), 'utf8'));
    expect(texts.join('')).toContain('"zone": "any"');
    for (const text of texts) for (const secret of [planted, plane.token]) expect(text).not.toContain(secret);
    expect((await home.run(['support-bundle', file])).code).toBe(5);
  });
});
