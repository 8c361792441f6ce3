import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Name, Problem, provider, urnFromAddress } from '@virt8ra/contract';
import type { Log, Migration } from '@virt8ra/engine';
import { type Static, Type } from 'typebox';
import { createShapeCheck } from '../http/shape-check.js';
import type { Store } from '../resources/store.js';

const Presets = Type.Array(Type.Object({ name: Name, spec: provider.spec }, { additionalProperties: false }), { maxItems: 1000 });

/** Providers that every control plane knows from its first start. */
export type ProviderPresets = Static<typeof Presets>;

const check = createShapeCheck(Presets);
const shipped = fileURLToPath(new URL('../../data/providers.json', import.meta.url));

/** What was offered once is not offered again: a provider that its operator has deleted stays away. */
export const presetMigrations: readonly Migration[] = [
  {
    name: '0001-preset',
    sql: `create table preset (kind text collate "C", name text collate "C", offered_at timestamptz not null, primary key (kind, name))`,
  },
];

/** The providers this release ships, in the shape of the contract. Raises `validation` that says what is wrong with the file, and where. */
export async function readProviderPresets(path = shipped): Promise<ProviderPresets> {
  const broken = (why: string, cause?: unknown): Problem => new Problem('validation', `the providers in ${path} ${why}`, { cause });
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw broken(`cannot be read: ${(cause as Error).message}`, cause);
  }
  const [fault] = check(content, '');
  if (fault !== undefined) throw broken(`are not what they should be: ${fault.pointer || 'the whole'} ${fault.message}`);
  const presets = content as ProviderPresets;
  const names = presets.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw broken(`name ${twice} twice`);
  return presets;
}

/** Makes the providers that were never offered to this database before. One that is there already is its operator's and left alone. */
export async function offerProviderPresets(store: Store, presets: ProviderPresets, now: Date, log: Log): Promise<void> {
  const made = await store.transaction(async (tx) => {
    const names: string[] = [];
    for (const { name, spec } of presets) {
      const offered = await tx.client.query(
        'insert into preset (kind, name, offered_at) values ($1, $2, $3) on conflict (kind, name) do nothing',
        [provider.kind, name, now],
      );
      if (offered.rowCount === 0 || (await tx.lockAt(provider, { name })) !== undefined) continue;
      await tx.put({ kind: provider, address: { name }, spec, state: 'active', conditions: [{ state: 'active' }] });
      const resource = urnFromAddress(provider, { name });
      await tx.audit({
        subject: 'virt8ra-server',
        remote: '',
        verb: 'put',
        resource,
        code: 201,
        reason: 'a provider that is known from the first start',
      });
      names.push(name);
    }
    return names;
  });
  if (made.length > 0) log.info('providers were made', { providers: made });
}
