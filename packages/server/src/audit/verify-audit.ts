import { type AuditFault, type AuditFaultKind, type AuditVerification, Problem } from '@virt8ra/contract';
import { inTransaction } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { AuditSigner, Checkpoint } from './audit-key.js';
import { type AuditKey, type AuditRow, auditColumns, chainBeginning, compareKeys, sealHash, timeOfRow } from './audit-row.js';
import { readCheckpoints } from './checkpoint-rows.js';

export interface VerifyOptions {
  readonly signer: AuditSigner;
  /** Goes on behind this position. Default: from the beginning. */
  readonly after?: bigint;
  /** Seals of one look. Default: all that there are. */
  readonly limit?: number;
  /** A head that an earlier verification has told: it must still be in the chain, which shows when the end was cut off. */
  readonly expected?: { readonly position: bigint; readonly hash: string };
}

/** `POSITION:HASH`, as a verification tells it. Raises `invalid-request` that names the parameter. */
export function headFromText(given: unknown, parameter: string): VerifyOptions['expected'] {
  if (given === undefined || given === '') return undefined;
  const [, position, hash] = (typeof given === 'string' ? /^(\d{1,15}):([0-9a-f]{64})$/.exec(given) : null) ?? [];
  if (position === undefined || hash === undefined)
    throw new Problem('invalid-request', `${parameter} must be POSITION:HASH, as an earlier verification has told it`, {
      sources: [{ parameter }],
    });
  return { position: BigInt(position), hash };
}

interface Seal extends AuditKey {
  readonly position: bigint;
  readonly id: string;
  readonly hash: Buffer;
}

/** What the next seal must stand on. An unknown hash is taken from the chain itself, after that was said. */
interface Ground {
  readonly position: bigint;
  readonly hash: Buffer | undefined;
  readonly key: AuditKey;
  readonly at: string | undefined;
}

const pageRows = 1000;
const faultsTold = 20;
const nowhere: AuditKey = { era: 0, xid: '0', seq: '-1' };

/**
 * Walks seals and rows side by side and compares them, in one snapshot, page by page: memory stays flat however long the chain is. The seals
 * prove the rows, and signed checkpoints prove the seals, so that neither a row nor the whole table can be changed unseen.
 */
export async function verifyAudit(pool: Pool, options: VerifyOptions): Promise<AuditVerification> {
  return await inTransaction(pool, async (client) => {
    await client.query('set transaction isolation level repeatable read, read only');
    return await verifyIn(client, options);
  });
}

/** The same inside a transaction of the caller. */
export async function verifyIn(client: PoolClient, { signer, after = 0n, limit, expected }: VerifyOptions): Promise<AuditVerification> {
  const faults = collectFaults();
  const beginning = await groundBehind(client, signer, after, faults);
  let ground = beginning.ground;
  const rows = readRows(client, after === 0n ? nowhere : ground.key);
  let row = await nextOf(rows);
  let checked = 0;
  let full = false;
  let checkpoints: readonly Checkpoint[] = [];

  for await (const { seal, page } of readSeals(client, ground.position, limit)) {
    if (page !== undefined)
      checkpoints = await readCheckpoints(client, `where role = 'head' and position between $1 and $2 order by position`, page);
    checked += 1;
    if (seal.position !== ground.position + 1n)
      faults.add('removed', seal.position, `seals ${ground.position + 1n} to ${seal.position - 1n} are gone`, ground.at);
    if (compareKeys(seal, ground.key) <= 0)
      faults.add('moved', seal.position, 'its seal does not come behind the one before it', ground.at, seal.id);
    for (; row !== undefined && compareKeys(row, seal) < 0; row = await nextOf(rows))
      faults.add(
        'inserted',
        ground.position,
        `row ${row.id} (${row.verb} ${row.resource}) was never sealed at its place`,
        ground.at,
        row.id,
      );
    let at = ground.at;
    if (row === undefined || compareKeys(row, seal) !== 0) await faults.missing(client, seal, ground.at);
    else {
      const gap = seal.position !== ground.position + 1n || ground.hash === undefined;
      if (row.id !== seal.id) faults.add('moved', seal.position, `row ${row.id} stands where ${seal.id} was sealed`, ground.at, seal.id);
      else if (!gap && !sealHash(ground.hash ?? Buffer.alloc(0), seal.position, row).equals(seal.hash))
        faults.add('changed', seal.position, `row ${row.id} (${row.verb} ${row.resource}) is not what was sealed`, ground.at, row.id);
      else {
        at = timeOfRow(row);
        faults.sound(at);
      }
      row = await nextOf(rows);
    }
    for (const checkpoint of checkpoints)
      if (checkpoint.position === seal.position) checkSigned(checkpoint, seal, signer, faults, ground.at);
    ground = { position: seal.position, hash: seal.hash, key: seal, at };
    full = checked === limit;
  }
  const rest = full && (await hasSealBehind(client, ground.position)) ? { next: Number(ground.position) } : await theEnd();
  return {
    checked,
    ...faults.told(),
    ...rest,
    ...(ground.position === 0n || ground.hash === undefined
      ? {}
      : {
          head: {
            position: Number(ground.position),
            hash: ground.hash.toString('hex'),
            ...(ground.at === undefined ? {} : { at: ground.at }),
          },
        }),
    ...(beginning.cut === undefined ? {} : { cut: beginning.cut }),
  };

  /** Behind the last seal: what is signed must not reach further, what is sealed must be signed, and what is left waits. */
  async function theEnd(): Promise<Pick<AuditVerification, 'unsealed'>> {
    const [newest] = await readCheckpoints(client, 'order by position desc limit 1');
    if (newest !== undefined && newest.position > ground.position)
      faults.add('removed', ground.position, `the chain was signed up to position ${newest.position}, and ends here`, ground.at);
    if (ground.position > (newest?.position ?? 0n))
      faults.add('unsigned', ground.position, `nothing signed covers the seals behind position ${newest?.position ?? 0n}`, newest?.at);
    if (expected !== undefined && expected.position > (beginning.cut?.position ?? 0)) {
      const { rows: seals } = await client.query<{ hash: Buffer }>('select hash from audit_seal where position = $1', [
        String(expected.position),
      ]);
      if (seals[0] === undefined)
        faults.add(
          'removed',
          expected.position,
          `the head that was seen here before is gone: the end of the chain was cut off${await restoredSince(client)}`,
          undefined,
        );
      else if (seals[0].hash.toString('hex') !== expected.hash)
        faults.add(
          'rewritten',
          expected.position,
          `the seal here is not the one that was seen before${await restoredSince(client)}`,
          undefined,
        );
    }
    // Rows that a cut-off end leaves behind are no rows that wait.
    for (; row !== undefined && newest !== undefined && compareKeys(row, newest) <= 0; row = await nextOf(rows))
      faults.add('inserted', ground.position, `row ${row.id} (${row.verb} ${row.resource}) has no seal`, ground.at, row.id);
    const since = row === undefined ? undefined : timeOfRow(row);
    const { rows: counted } = await client.query<{ count: string }>(
      'select count(*) from audit where (era, xid, seq) >= ($1, $2::xid8, $3::bigint)',
      row === undefined ? [2147483647, '0', 0] : [row.era, row.xid, row.seq],
    );
    return { unsealed: { rows: Number(counted[0]?.count ?? 0), ...(since === undefined ? {} : { since }) } };
  }
}

/** A restore explains an end that is gone; it excuses nothing: who restored, and what was lost, is for a person to judge. */
async function restoredSince(client: PoolClient): Promise<string> {
  const { rows: there } = await client.query<{ there: boolean }>(`select to_regclass('fleet.restore') is not null as there`);
  if (there[0]?.there !== true) return '';
  const { rows } = await client.query<{ backup_at: Date; restored_at: Date }>(
    'select backup_at, restored_at from fleet.restore order by restored_at desc limit 1',
  );
  const [row] = rows;
  if (row === undefined) return '';
  return `; the control plane was restored at ${row.restored_at.toISOString()} from a backup of ${row.backup_at.toISOString()}, and rows written in between are lost`;
}

function checkSigned(checkpoint: Checkpoint, seal: Seal, signer: AuditSigner, faults: Faults, after: string | undefined): void {
  const doubt = signer.doubt(checkpoint);
  if (doubt !== undefined) faults.add('rewritten', seal.position, `the checkpoint here cannot be believed: ${doubt}`, after);
  else if (!checkpoint.hash.equals(seal.hash))
    faults.add('rewritten', seal.position, 'the seals up to here are not those that were signed', after);
}

/** Where the chain begins, or goes on behind a position that an earlier look has proven. */
async function groundBehind(
  client: PoolClient,
  signer: AuditSigner,
  after: bigint,
  faults: Faults,
): Promise<{ readonly ground: Ground; readonly cut?: { readonly position: number; readonly at: string } }> {
  if (after > 0n) {
    const { rows } = await client.query<Seal & { readonly at: Date | null }>(
      `select seal.position::text, seal.era, seal.xid::text, seal.seq::text, seal.id, seal.hash, audit.at
       from audit_seal as seal left join audit on audit.id = seal.id where seal.position = $1`,
      [String(after)],
    );
    const [seal] = rows;
    if (seal !== undefined) return { ground: { position: after, hash: seal.hash, key: seal, at: seal.at?.toISOString() } };
  }
  const { rows } = await client.query<{ first: string | null }>('select min(position)::text as first from audit_seal');
  const first = BigInt(rows[0]?.first ?? 1);
  const [cut] = await readCheckpoints(client, `where role = 'cut' order by position desc limit 1`);
  if (cut === undefined) {
    if (first > 1n)
      faults.add('removed', 0n, `the chain begins at position ${first}, and nothing signed says that it was cut there`, undefined);
    const known = first === 1n;
    return { ground: { position: first - 1n, hash: known ? chainBeginning(signer.region) : undefined, key: nowhere, at: undefined } };
  }
  const doubt = signer.doubt(cut);
  if (doubt !== undefined) faults.add('rewritten', cut.position, `the cut here cannot be believed: ${doubt}`, undefined);
  return {
    ground: { position: cut.position, hash: cut.hash, key: cut, at: undefined },
    cut: { position: Number(cut.position), at: cut.at },
  };
}

async function* readSeals(
  client: PoolClient,
  behind: bigint,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<{ readonly seal: Seal; readonly page: readonly string[] | undefined }> {
  let position = behind;
  for (let left = limit; left > 0; ) {
    const { rows } = await client.query<Omit<Seal, 'position'> & { readonly position: string }>({
      name: 'audit-seals',
      text: `select position::text, era, xid::text, seq::text, id, hash from audit_seal where position > $1::bigint order by audit_seal.position limit $2`,
      values: [String(position), Math.min(pageRows, left)],
    });
    const [first, last] = [rows[0], rows.at(-1)];
    if (first === undefined || last === undefined) return;
    for (const row of rows)
      yield { seal: { ...row, position: BigInt(row.position) }, page: row === first ? [first.position, last.position] : undefined };
    position = BigInt(last.position);
    left -= rows.length;
  }
}

async function* readRows(client: PoolClient, behind: AuditKey): AsyncGenerator<AuditRow> {
  for (let key = behind; ; ) {
    const { rows } = await client.query<AuditRow>({
      name: 'audit-rows',
      text: `select ${auditColumns} from audit where (era, xid, seq) > ($1, $2::xid8, $3::bigint)
        order by audit.era, audit.xid, audit.seq limit ${pageRows}`,
      values: [key.era, key.xid, key.seq],
    });
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    key = last;
  }
}

async function nextOf(rows: AsyncGenerator<AuditRow>): Promise<AuditRow | undefined> {
  const { value, done } = await rows.next();
  return done === true ? undefined : value;
}

async function hasSealBehind(client: PoolClient, position: bigint): Promise<boolean> {
  const { rowCount } = await client.query('select 1 from audit_seal where position > $1 limit 1', [String(position)]);
  return (rowCount ?? 0) > 0;
}

interface Faults {
  add(kind: AuditFaultKind, position: bigint, message: string, after: string | undefined, id?: string): void;
  /** A seal whose row is not where it was: gone, or somewhere else. */
  missing(client: PoolClient, seal: Seal, after: string | undefined): Promise<void>;
  /** A row that is as it was sealed: what was found just before lies before it. */
  sound(at: string): void;
  told(): Pick<AuditVerification, 'faults' | 'faultCount'>;
}

function collectFaults(): Faults {
  const faults: { -readonly [member in keyof AuditFault]: AuditFault[member] }[] = [];
  let faultCount = 0;
  let open = 0;
  const add: Faults['add'] = (kind, position, message, after, id) => {
    faultCount += 1;
    if (faults.length === faultsTold) return;
    faults.push({
      kind,
      position: Number(position),
      message,
      ...(after === undefined ? {} : { after }),
      ...(id === undefined ? {} : { id }),
    });
  };
  return {
    add,
    async missing(client, seal, after) {
      // Once enough is told, only counting is left.
      const elsewhere =
        faults.length < faultsTold && ((await client.query('select 1 from audit where id = $1', [seal.id])).rowCount ?? 0) > 0;
      if (elsewhere) add('moved', seal.position, `row ${seal.id} is not at its place, but at another`, after, seal.id);
      else add('removed', seal.position, `row ${seal.id} is gone`, after, seal.id);
    },
    sound(at) {
      for (; open < faults.length; open += 1) {
        const fault = faults[open];
        if (fault !== undefined) fault.before = at;
      }
    },
    told: () => ({ faults, faultCount }),
  };
}
