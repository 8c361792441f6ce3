import { Problem } from '@virt8ra/contract';
import { paintFor } from '../output/colour.js';
import { planText } from '../output/plan-text.js';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';
import { type MigrateFlags, specOfMove } from './migration-start.js';

export interface PlanFlags {
  readonly plan?: boolean;
  readonly inspect?: boolean;
  /** False: no path is measured for it. */
  readonly measure?: boolean;
}

/**
 * Says what a move would do and take, and changes nothing. Raises `conflict` after it has printed a plan that something blocks, so that a script can
 * tell.
 */
export async function migrationPlan(session: Session, instanceName: string, flags: MigrateFlags & PlanFlags): Promise<void> {
  const { tenant, workspace, terminal, client, format } = session;
  if (tenant === undefined || workspace === undefined)
    throw new Problem('invalid-request', 'of which workspace? Name it by --tenant and --workspace, or in the context');
  const { spec } = specOfMove(instanceName, flags);
  const plan = await client.planMigration(
    { tenant, workspace },
    {
      spec,
      measure: flags.measure !== false,
      ...(flags.inspect === true ? { inspect: true } : {}),
    },
  );
  if (format === 'json') terminal.out(`${JSON.stringify(plan, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText(plan));
  else if (format === 'name') terminal.out(`${plan.verdict}\n`);
  else terminal.out(planText(plan, { now: terminal.now(), paint: paintFor(terminal, 'stdout') }));
  if (plan.verdict === 'ready') return;
  const blocks = plan.findings.filter(({ severity }) => severity === 'blocks');
  throw new Problem('conflict', `${plan.instance} cannot be moved to ${spec.toSite} so: ${blocks.map(({ code }) => code).join(', ')}`);
}
