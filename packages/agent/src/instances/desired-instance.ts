import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';

/** What is desired of an instance here; undefined: nothing any more. */
export function desiredInstance({ ledger }: Pick<HostContext, 'ledger'>, key: string): DesiredInstance | undefined {
  return ledger.state.instances.find((instance) => instance.key === key);
}
