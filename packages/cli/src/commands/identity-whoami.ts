import type { Session } from '../session.js';

/** Prints who the control plane takes this token for. */
export async function identityWhoami(session: Session): Promise<void> {
  const { terminal, format, client } = session;
  const caller = await client.whoami();
  if (format === 'json') return terminal.out(`${JSON.stringify(caller, null, 2)}\n`);
  const listed = (values: readonly string[] | undefined): string => (values === undefined || values.length === 0 ? '-' : values.join(', '));
  const fields = {
    subject: caller.name,
    groups: listed(caller.subs),
    tenants: listed(caller.tenants),
    operator: caller.operator ? 'yes' : 'no',
    'roles of the token': caller.operator ? 'everything' : listed(caller.roles),
    ...(caller.within?.workspaces === undefined ? {} : { 'only in': listed(caller.within.workspaces) }),
  };
  terminal.out(
    Object.entries(fields)
      .map(([key, value]) => `${`${key}:`.padEnd(20)} ${value}\n`)
      .join(''),
  );
}
