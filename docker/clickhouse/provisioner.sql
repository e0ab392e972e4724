GRANT CREATE USER, ALTER USER, DROP USER ON *.* TO `provisioner`;
GRANT CREATE ROLE, ALTER ROLE, ROLE ADMIN ON *.* TO `provisioner`;
GRANT SHOW ACCESS, KILL QUERY ON *.* TO `provisioner`;
GRANT SELECT ON `system`.`role_grants` TO `provisioner`;
GRANT SELECT ON `system`.`grants` TO `provisioner`;
GRANT SELECT ON `system`.`processes` TO `provisioner`;
GRANT SELECT ON `system`.`settings_profile_elements` TO `provisioner`;
GRANT SELECT ON `analytics`.* TO `provisioner` WITH GRANT OPTION;
GRANT SELECT ON `analytics`.`calendar` TO `provisioner` WITH GRANT OPTION;
