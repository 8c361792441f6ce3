/** NIC: a record that holds its addresses and its MAC for life, wherever its instance goes. */
export { forgetAddressSpace, nicMigrations } from './ipam.js';
export { createNicBehaviour, type NicStatus } from './nic-behaviour.js';
export { type NicOfInstance, nicsForInstance, type PublicIpOfNic } from './nics-for-instance.js';
