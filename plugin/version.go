package plugin

import "fmt"

// VerifyVersion returns an error that names the command to run if the store's schema is older than the server needs. A
// Temporal server asks at its start.
func (d *db) VerifyVersion() error {
	err := d.adminCalls.VerifyVersion()
	if err == nil {
		return nil
	}
	if version, unreadable := d.ReadSchemaVersion(d.DbName()); unreadable == nil {
		return fmt.Errorf("%w: bring the schema from %s to %s with temporal-vitess-tool update-schema, then start the server again", err, version, d.ExpectedVersion())
	}
	return fmt.Errorf("%w: if the keyspaces are new, set them up with temporal-vitess-tool setup-schema", err)
}
