import { Problem } from '@virt8ra/contract';

/** What PostgreSQL (or initdb) wrote when it did not start, as a problem that says how to mend it. */
export function startFailure(output: string, place: { readonly data: string; readonly logFile: string }): Problem {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const told = lines.filter((line) => /FATAL|PANIC|error:/.test(line)).at(-1) ?? lines.at(-1) ?? 'it said nothing';
  const reason = told.replace(/^.*?(FATAL|PANIC|error):\s*/, '').trim();
  const row = failures.find(({ pattern }) => pattern.test(output));
  const options = { facts: { reason, log: place.logFile } };
  if (row === undefined) return new Problem('unavailable', `PostgreSQL did not start: ${reason}. See ${place.logFile}`, options);
  return new Problem(row.kind, `PostgreSQL did not start: ${reason}. ${row.remedy(place.data)}. See ${place.logFile}`, options);
}

const failures: readonly {
  readonly pattern: RegExp;
  readonly kind: 'exhausted' | 'unavailable' | 'conflict' | 'internal';
  readonly remedy: (data: string) => string;
}[] = [
  {
    pattern: /No space left on device|Disk quota exceeded/,
    kind: 'exhausted',
    remedy: (data) => `Free space on the disk that holds ${data}`,
  },
  {
    pattern: /wrong ownership|invalid permissions|Permission denied/,
    kind: 'unavailable',
    remedy: (data) => `Give ${data} back to the account it runs as (chown -R) with mode 0700`,
  },
  {
    pattern: /incompatible with server|was initialized by PostgreSQL version/,
    kind: 'unavailable',
    // The version was matched before, so that this is a strange build or a damaged control file.
    remedy: (data) => `The database in ${data} is damaged, or another build of PostgreSQL made it: use that build, or restore a backup`,
  },
  {
    pattern: /lock file .* already exists|is another postmaster|pre-existing shared memory block/,
    kind: 'conflict',
    remedy: (data) => `Another PostgreSQL still works in ${data}`,
  },
  {
    pattern: /could not (create|resize|map) shared memory|Cannot allocate memory|out of memory/i,
    kind: 'exhausted',
    remedy: () => 'The machine has too little memory for it; lower shared_buffers in postgresql.conf or free memory',
  },
  {
    pattern:
      /could not locate a valid checkpoint|invalid checkpoint|incorrect checksum in control file|is not a valid data directory|could not (open|read) (control )?file "global\/pg_control"|could not find the database system|PANIC|invalid page|invalid data in file/,
    kind: 'internal',
    remedy: (data) => `The database in ${data} is damaged: restore it from a backup, and keep the damaged directory for inspection`,
  },
];
