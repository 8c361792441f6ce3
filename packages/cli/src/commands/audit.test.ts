import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from '@virt8ra/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Session } from '../session.js';
import { auditList } from './audit-list.js';
import { auditVerify } from './audit-verify.js';

const hash = 'ab'.repeat(32);
const record = {
  id: 'aud_1',
  at: '2026-03-01T10:00:00.000Z',
  subject: 'ann',
  remote: '192.0.2.7',
  verb: 'put',
  resource: 'seca.workspace/v1/tenants/t/workspaces/w',
  decision: 'allowed',
  code: 201,
  position: 7,
};

let server: Server;
let broken = true;
const asked: string[] = [];

beforeAll(async () => {
  server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '', 'http://localhost');
    asked.push(`${url.pathname}${url.search}`);
    const second = url.searchParams.get('after') === '10' || url.searchParams.get('skipToken') === 'more';
    const body = url.pathname.endsWith('/verification')
      ? {
          checked: second ? 5 : 10,
          faults:
            broken && !second
              ? [{ kind: 'changed', position: 4, message: 'row aud_4 is not what was sealed', after: 'T3', before: 'T5' }]
              : [],
          faultCount: broken && !second ? 1 : 0,
          head: { position: second ? 15 : 10, hash },
          ...(second ? { unsealed: { rows: 0 } } : { next: 10 }),
        }
      : { items: [record], metadata: second ? {} : { skipToken: 'more' } };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => server.close());

function session(format: Session['format'] = 'table'): { readonly session: Session; readonly said: string[] } {
  const said: string[] = [];
  const { port } = server.address() as AddressInfo;
  const client = createClient({ server: `http://127.0.0.1:${port}`, token: 'x' });
  const terminal = { out: (text: string) => said.push(text), err: (text: string) => said.push(text), columns: undefined };
  return { session: { terminal, client, format, tenant: 't', workspace: 'w' } as unknown as Session, said };
}

it('verifies part by part, says what broke and between which times, and ends with 1; with 0 when all holds', async () => {
  const first = session();
  expect(await auditVerify(first.session, {})).toBe(1);
  expect(first.said.join('')).toBe(
    `fail  changed at position 4: row aud_4 is not what was sealed (between T3 and T5)\n      head 15:${hash}\nfail  the audit does not hold: 1 faults in 15 rows\n`,
  );
  broken = false;
  const second = session();
  expect(await auditVerify(second.session, { head: `15:${hash}` })).toBe(0);
  expect(second.said.join('')).toContain('pass  15 rows are what was sealed');
  expect(asked.at(-1)).toBe(`/providers/virt8ra.audit/v1beta1/verification?after=10&head=15%3A${hash}`);
});

it('lists the tenant’s rows, one resource’s, or all', async () => {
  const { session: own, said } = session();
  await auditList(own, [], {});
  expect(said.join('')).toMatch(/^AT +WHO +FROM .*\n2026-03-01T10:00:00.000Z +ann +192.0.2.7 +put .* 201 +7\n2026/);
  await auditList(own, ['workspace/w'], { limit: '1' });
  expect(asked.at(-1)).toContain('/tenants/t/entries?resource=seca.workspace%2Fv1%2Ftenants%2Ft%2Fworkspaces%2Fw&limit=1');
  await auditList(own, [], { all: true, limit: '1' });
  expect(asked.at(-1)).toContain('/virt8ra.audit/v1beta1/entries?limit=1');
  await expect(auditList(own, [], { limit: '0' })).rejects.toMatchObject({ kind: 'invalid-request' });
});
