import type { Migration } from '@virt8ra/engine';

/** Who may do what is asked for by the names of subjects. */
export const identityMigrations: readonly Migration[] = [
  {
    name: '0001-assignment-subjects',
    sql: `create index role_assignment_subjects on resource using gin ((spec -> 'subs')) where kind = 'role-assignment'`,
  },
];
