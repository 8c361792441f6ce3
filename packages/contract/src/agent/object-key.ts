import { Type } from 'typebox';

/** Key of an object on a host, from the control plane's ledger. */
export const HostObjectKey = Type.String({ minLength: 1, maxLength: 96, pattern: '^[a-z0-9][a-z0-9_.-]*$' });
