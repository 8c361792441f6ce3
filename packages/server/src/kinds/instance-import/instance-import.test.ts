import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ImportFinding, InstanceImportPlan } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasQemuImg } from '../../artifacts/qemu-img.js';
import { controller, cpu, descriptorOf, diskEntry, diskItem, makeOva, memory, nicItem } from '../../ovf/testing/make-ova.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';

const lacks = hasQemuImg() ? [] : ['qemu-img'];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const tenant = 'tenants/default';
const workspace = `${tenant}/workspaces/shop`;
const imports = `/providers/virt8ra.migration/v1beta1/${workspace}/instance-imports`;
const exports_ = `/providers/virt8ra.migration/v1beta1/${workspace}/backup-exports`;
const instances = `/providers/seca.compute/v1/${workspace}/instances`;
const disks = `/providers/seca.storage/v1/${workspace}/block-storages`;
const images = `/providers/seca.storage/v1/${tenant}/images`;
const nics = `/providers/seca.network/v1/${workspace}/nics`;
const networks = `/providers/seca.network/v1/${workspace}/networks`;
const backups = `/providers/virt8ra.backup/v1beta1/${workspace}/backups`;
const mebibyte = 1024 * 1024;

interface Seen {
  readonly state?: string;
  readonly phase?: string;
  readonly plan?: InstanceImportPlan;
  readonly findings?: readonly ImportFinding[];
  readonly sha256?: string;
  readonly files?: readonly { readonly name: string; readonly sha256: string; readonly fileBytes: number }[];
  readonly instanceRef?: { readonly resource: string };
  readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
}
const statusOf = ({ body }: Answer): Seen => (body as { status: Seen }).status;
const sha256Of = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

describe.skipIf(lacks.length > 0)('machines that come in and go out', { timeout: 90_000 }, () => {
  let plane: ControlPlane;
  let folder: string;
  let ova: Buffer;
  let raw: Buffer;

  const put = async (path: string, spec: unknown, extensions?: Record<string, string>): Promise<Answer> => {
    const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
    expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
    return answer;
  };
  const until = async (path: string, accept: (status: Seen) => boolean): Promise<Seen> =>
    await plane.until(path, (answer) => answer.status === 200 && accept(statusOf(answer)) && statusOf(answer));
  const upload = (octets: Buffer) => ({ upload: { sizeBytes: octets.length, sha256: sha256Of(octets) } });
  const isThere = async (path: string): Promise<boolean> => (await plane.call('GET', path)).status === 200;
  const read = async (path: string, headers: Record<string, string> = {}, token = plane.token) =>
    await fetch(`${plane.url}${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
  const qemuImg = (...words: string[]): string => execFileSync('qemu-img', words, { cwd: folder, encoding: 'utf8' });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'virt8ra-machine-'));
    raw = Buffer.alloc(8 * mebibyte);
    raw.fill('root of the guest ', mebibyte, 2 * mebibyte);
    writeFileSync(join(folder, 'root.raw'), raw);
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'root.raw', 'web-disk1.vmdk');
    const disk = readFileSync(join(folder, 'web-disk1.vmdk'));
    ova = makeOva(
      descriptorOf({
        files: `<File ovf:id="f1" ovf:href="web-disk1.vmdk" ovf:size="${disk.length}"/>`,
        disks: diskEntry('d1', 'f1', 8, 'byte * 2^20') + diskEntry('d2', undefined, 2, 'byte * 2^30'),
        items: [
          cpu(2),
          memory(3072),
          controller(3, 6, 'VirtualSCSI'),
          diskItem(9, 'd1', 3, 0),
          diskItem(10, 'd2', 3, 1),
          nicItem(20, 'VM Network'),
        ].join(''),
        hardware: '<vmw:Config vmw:key="firmware" vmw:value="bios"/>',
      }),
      [{ name: 'web-disk1.vmdk', content: disk }],
    );
    plane = await startControlPlane();
    await plane.addSite('here', { delays: { network: 5, volume: 5, boot: 5, stop: 5, settle: 5, remove: 5, pass: 5 } });
    await put(`/providers/seca.workspace/v1/${workspace}`, {});
    await put(`${networks}/lan`, { cidr: { ipv4: '10.7.0.0/24' }, skuRef: 'skus/n1k' });
    await put(`${networks}/lan/subnets/first`, { cidr: { ipv4: '10.7.0.0/25' } });
  }, 120_000);
  afterAll(async () => {
    expect(plane?.hosts.violations).toEqual([]);
    await plane?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it('shows what would be made, makes all of it or nothing, and its export is the same machine again', async () => {
    const source = upload(ova);
    const path = `${imports}/web`;
    await put(path, { source, planOnly: true, zone: 'here' });
    expect(statusOf(await plane.call('GET', path)).phase).toBe('waiting-for-content');
    await plane.upload(`${path}/content`, ova);

    const planned = await until(path, ({ phase }) => phase === 'planned');
    expect(planned.plan).toMatchObject({
      instance: 'web',
      sourceName: 'web & shop',
      os: 'Debian GNU/Linux 12 (64-bit)',
      vCPU: 2,
      memoryBytes: 3 * 2 ** 30,
      boot: 'BIOS',
      skuRef: 'skus/seca.m',
      zone: 'here',
      disks: [
        { name: 'web-disk1', file: 'web-disk1.vmdk', format: 'vmdk', virtualSizeBytes: 8 * mebibyte, sizeGB: 1, bus: 'scsi' },
        { name: 'web-disk2', virtualSizeBytes: 2 * 2 ** 30, sizeGB: 3, bus: 'scsi' },
      ],
      nics: [{ sourceNetwork: 'VM Network', macAddress: '00:50:56:ab:cd:ef' }],
    });
    expect(planned.findings?.map(({ code, severity }) => `${code} ${severity}`).toSorted()).toEqual([
      'disk-bus warns',
      'disk-bus warns',
      'network warns',
      'size info',
    ]);
    for (const made of [`${instances}/web`, `${disks}/web-disk1`, `${images}/web-disk1`]) expect(await isThere(made), made).toBe(false);

    // What is in the way is said, what was sent is kept, and what was asked for may change.
    await put(`${disks}/web-disk2`, { sizeGB: 1, skuRef: 'skus/ld500' });
    const network = { source: 'VM Network', subnetRef: 'networks/lan/subnets/first' };
    await put(path, { source, zone: 'here', networks: [network], power: 'on' });
    const blocked = await until(path, ({ findings = [] }) => findings.some(({ severity }) => severity === 'blocks'));
    expect(blocked).toMatchObject({ phase: 'planned', state: 'error' });
    expect(blocked.findings?.[0]).toMatchObject({
      code: 'conflict',
      what: expect.stringContaining('there is block-storage web-disk2 already'),
    });
    for (const made of [`${instances}/web`, `${disks}/web-disk1`, `${images}/web-disk1`, `${nics}/web-nic1`])
      expect(await isThere(made), made).toBe(false);
    await plane.call('DELETE', `${disks}/web-disk2`);
    await plane.until(`${disks}/web-disk2`, ({ status }) => status === 404);
    await put(path, { source, zone: 'here', networks: [network], power: 'on', storageSkuRef: 'skus/ld500' });

    const done = await until(path, ({ phase }) => phase === 'done');
    expect(done.instanceRef?.resource).toMatch(/instances\/web$/);
    expect((await plane.call('GET', `${instances}/web`)).body).toMatchObject({
      spec: {
        skuRef: 'skus/seca.m',
        bootVolume: { deviceRef: 'block-storages/web-disk1' },
        dataVolumes: [{ deviceRef: 'block-storages/web-disk2' }],
        primaryNicRef: 'nics/web-nic1',
      },
    });
    expect((await plane.call('GET', `${images}/web-disk1`)).body).toMatchObject({
      spec: { boot: 'BIOS' },
      status: { sha256: done.plan?.disks[0]?.sha256, virtualSizeBytes: 8 * mebibyte },
    });
    expect((await plane.call('PUT', path, { spec: { source, zone: 'any' } })).body).toMatchObject({
      detail: expect.stringContaining('is done'),
    });
    await until(`${instances}/web`, ({ state }) => state === 'active');
    expect((await plane.call('GET', `/providers/virt8ra.audit/v1beta1/${tenant}/entries?limit=100`)).body).toMatchObject({
      items: expect.arrayContaining([
        expect.objectContaining({ reason: 'instance import web', resource: expect.stringMatching(/instances\/web$/) }),
      ]),
    });

    await put(`${backups}/of-web`, { instanceRef: 'instances/web' });
    await until(`${backups}/of-web`, ({ phase }) => phase === 'done');
    await put(`${exports_}/web`, { backupRef: 'backups/of-web', format: 'ova' });
    const exported = await until(`${exports_}/web`, ({ phase }) => phase === 'done');
    const [file] = exported.files ?? [];
    expect(file).toMatchObject({ name: 'web.ova' });
    const url = `${exports_}/web/files/web.ova`;
    const first = await read(url, { range: 'bytes=0-99999' });
    expect([first.status, first.headers.get('content-range')]).toEqual([206, `bytes 0-99999/${file?.fileBytes}`]);
    const rest = await read(url, { range: 'bytes=100000-', 'if-range': first.headers.get('etag') ?? '' });
    const whole = Buffer.concat([Buffer.from(await first.arrayBuffer()), Buffer.from(await rest.arrayBuffer())]);
    expect([whole.length, sha256Of(whole)]).toEqual([file?.fileBytes, file?.sha256]);
    expect((await read(url, { range: 'bytes=5-', 'if-range': '"another"' })).status).toBe(200);
    expect((await read(`${exports_}/web/files/none`)).status).toBe(404);
    // Who may see the export may not yet read what a guest wrote.
    const viewer = await plane.tokenFor('--subject', 'looks', '--tenants', 'default', '--roles', 'seca.workspace-viewer');
    expect([(await read(`${exports_}/web`, {}, viewer)).status, (await read(url, {}, viewer)).status]).toEqual([200, 403]);

    writeFileSync(join(folder, 'web.ova'), whole);
    expect(execFileSync('tar', ['-xvf', 'web.ova'], { cwd: folder, encoding: 'utf8' }).split('\n').slice(0, 4)).toEqual([
      'web.ovf',
      'web.mf',
      'web-disk1.vmdk',
      'web-disk2.vmdk',
    ]);
    expect(JSON.parse(qemuImg('info', '--output=json', 'web-disk1.vmdk'))).toMatchObject({ 'virtual-size': 1_000_341_504 });
    await put(`${imports}/again`, { source: upload(whole), zone: 'here' });
    await plane.upload(`${imports}/again/content`, whole);
    const again = await until(`${imports}/again`, ({ phase }) => phase === 'done' || phase === 'refused');
    expect(again, JSON.stringify(again)).toMatchObject({
      phase: 'done',
      plan: { vCPU: 2, boot: 'BIOS', skuRef: 'skus/seca.m', disks: [{ sizeGB: 1 }, { sizeGB: 3 }], nics: [{ sourceNetwork: 'lan' }] },
    });

    for (const format of ['qcow2', 'vmdk'] as const) {
      await put(`${exports_}/${format}`, { backupRef: 'backups/of-web', format });
      const { files = [] } = await until(`${exports_}/${format}`, ({ phase }) => phase === 'done');
      expect(files.map(({ name }) => name)).toEqual([`web-disk1.${format}`, `web-disk2.${format}`]);
    }
    expect((await plane.call('DELETE', `${exports_}/vmdk`)).status).toBe(202);
    await plane.until(`${exports_}/vmdk`, ({ status }) => status === 404);
    expect((await plane.call('PUT', `${exports_}/vmdk`, { spec: { backupRef: 'backups/none', format: 'vmdk' } })).status).toBe(422);
  });

  it('refuses with the reason what cannot be one, and lets go of it', async () => {
    const spoilt = Buffer.from(ova);
    spoilt.write('x', spoilt.length - 5000);
    await put(`${imports}/spoilt`, { source: upload(spoilt) });
    await plane.upload(`${imports}/spoilt/content`, spoilt);
    const refused = await until(`${imports}/spoilt`, ({ phase }) => phase === 'refused');
    expect(refused.conditions[0]?.message).toContain('"web-disk1.vmdk" is not what it says');
    expect((await plane.call('PUT', `${imports}/spoilt`, { spec: { source: upload(spoilt), zone: 'here' } })).status).toBe(409);
    expect((await plane.call('DELETE', `${imports}/spoilt`)).status).toBe(202);
    await plane.until(`${imports}/spoilt`, ({ status }) => status === 404);

    const bad = [
      [{ source: upload(ova), zone: 'nowhere' }, 'there is no site nowhere'],
      [{ source: upload(ova), skuRef: 'skus/none' }, 'none'],
      [{ source: upload(ova), networks: [{ source: 'a', subnetRef: 'networks/lan/subnets/none' }] }, 'none'],
      [{ source: { url: 'ftp://x/y', sha256: '0'.repeat(64) } }, 'source'],
    ] as const;
    for (const [spec, reason] of bad) {
      const answer = await plane.call('PUT', `${imports}/bad`, { spec });
      expect([answer.status, JSON.stringify(answer.body)]).toEqual([422, expect.stringContaining(reason)]);
    }
    // Nobody makes by an import what they may not make by themselves.
    const role = { permissions: [{ provider: 'virt8ra.migration', resources: ['*'], verb: ['get', 'put', 'post'] }] };
    await put(`/providers/seca.authorization/v1/${tenant}/roles/imports`, role);
    const token = await plane.tokenFor('--subject', 'imports', '--tenants', 'default', '--roles', 'none');
    await put(`/providers/seca.authorization/v1/${tenant}/role-assignments/imports`, {
      subs: ['imports'],
      roles: ['imports'],
      scopes: [{ tenants: ['default'] }],
    });
    const asked = await fetch(`${plane.url}${imports}/theirs`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ spec: { source: upload(ova) } }),
    });
    expect([asked.status, await asked.text()]).toEqual([
      403,
      expect.stringContaining('may not put instance theirs, which the import would make'),
    ]);

    await put(`${imports}/unknown`, { source: upload(ova), networks: [{ source: 'DMZ', subnetRef: 'networks/lan/subnets/first' }] });
    await plane.upload(`${imports}/unknown/content`, ova);
    const blocked = await until(`${imports}/unknown`, ({ phase }) => phase === 'planned');
    expect(blocked.findings?.find(({ severity }) => severity === 'blocks')).toMatchObject({
      what: 'the package has no network "DMZ"; it has "VM Network"',
    });
    expect((await plane.call('POST', `${imports}/unknown/cancel`)).status).toBe(202);
    await until(`${imports}/unknown`, ({ phase }) => phase === 'refused');
  });
});
