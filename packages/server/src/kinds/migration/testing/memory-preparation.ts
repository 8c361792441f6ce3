import type { ReceiveSpec, TransferStatus } from '@virt8ra/driver';

/** What becomes of a guest that has to be changed in one place, where it is to be prepared. */
export function preparedOf({ prepare }: ReceiveSpec): Pick<TransferStatus, 'prepared'> {
  if (prepare === undefined) return {};
  return {
    prepared:
      prepare.changes === 'make'
        ? { state: 'prepared', changes: [{ code: 'mounts-by-uuid', file: '/etc/fstab', why: 'names change' }] }
        : {
            state: 'failed',
            changes: [],
            problem: { code: 'conflict', message: 'its guest would have to be changed, which was not allowed' },
          },
  };
}
