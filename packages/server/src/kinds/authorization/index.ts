/** Roles and who has them: records, which take effect because they stand there. */
export { createRoleAssignmentBehaviour } from './assignment-behaviour.js';
export { assignToCreator, dismissWith, namesOtherWorkspaces } from './creator.js';
export { createRoleBehaviour } from './role-behaviour.js';
export { seedSystemRoles } from './seed-system-roles.js';
