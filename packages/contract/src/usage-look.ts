import { type Static, Type } from 'typebox';
import { GuestSample, HostSample } from './agent/index.js';

/** What a host used over ten seconds, as the API tells it. */
export const HostLook = Type.Object({ at: Type.String(), ...HostSample.properties });
/** The same, of one of many. */
export const HostUsage = Type.Object({ host: Type.String(), ...HostLook.properties });
export type HostUsage = Readonly<Static<typeof HostUsage>>;

const { key: _key, disks: _disks, nics: _nics, changes: _changes, ...guestFigures } = GuestSample.properties;
const Rate = Type.Number({ minimum: 0 });

/** What an instance's guest used over ten seconds, its disks and NICs by the names of their resources. */
export const InstanceLook = Type.Object({
  at: Type.String(),
  ...guestFigures,
  disks: Type.Optional(
    Type.Array(
      Type.Object({ blockStorage: Type.String(), readPerSecond: Rate, writePerSecond: Rate, readsPerSecond: Rate, writesPerSecond: Rate }),
    ),
  ),
  nics: Type.Optional(Type.Array(Type.Object({ nic: Type.String(), inPerSecond: Rate, outPerSecond: Rate }))),
});
export const InstanceUsage = Type.Object({ instance: Type.String(), host: Type.String(), ...InstanceLook.properties });
export type InstanceUsage = Readonly<Static<typeof InstanceUsage>>;
