import { createTransport } from '../client/transport.js';
import type { Session } from '../session.js';

interface Caller {
  readonly name: string;
  readonly operator: boolean;
  readonly tenants: readonly string[] | 'all';
  readonly subs?: readonly string[];
  readonly roles?: readonly string[];
  readonly within?: { readonly workspaces?: readonly string[] };
}

/** Prints who the control plane takes this token for. */
export async function identityWhoami(session: Session): Promise<void> {
  const { terminal, format, access } = session;
  const transport = createTransport({ ...access, patienceSeconds: 5, signal: terminal.signal });
  const { text } = await transport.call({ method: 'GET', path: 'providers/virt8ra.identity/v1beta1/whoami' });
  const caller = JSON.parse(text) as Caller;
  if (format === 'json') return terminal.out(`${JSON.stringify(caller, null, 2)}\n`);
  const listed = (values: readonly string[] | 'all' | undefined): string =>
    values === undefined || values.length === 0 ? '-' : values === 'all' ? 'all' : values.join(', ');
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
