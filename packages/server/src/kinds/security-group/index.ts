/** Security group: what NICs may send and get, made on a host when the first of its NICs arrives there. Rules are its own or shared. */
export { ensureGroupOnHost, type GroupOnHost, releaseGroupsOnHost } from './group-on-host.js';
export { securityGroupRuleBehaviour } from './rule-behaviour.js';
export { createSecurityGroupBehaviour } from './security-group-behaviour.js';
