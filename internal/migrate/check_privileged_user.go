package migrate

import (
	"context"
	"strings"
)

var privilegedUser = Check{
	Name:   "privileged-user",
	Title:  "vtorc cannot change an attached MySQL",
	Why:    "vtorc watches every keyspace, and mends what it takes for wrong: with a user like root it makes a fenced MySQL writable again within seconds.",
	Fix:    "Give the unmanaged vttablet users with the rights that `migrate attach` prints and no more, or keep vtorc off the keyspace (--clusters-to-watch).",
	Before: []Command{Start},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		return i.eachSource(ctx, func(on primary) error {
			if !on.attached() {
				return nil
			}
			grants, err := i.column(ctx, on, "SHOW GRANTS")
			if err != nil {
				return err
			}
			for _, grant := range grants {
				given, _, _ := strings.Cut(grant, " ON *.*")
				if given != grant && (strings.Contains(given, "ALL PRIVILEGES") || strings.Contains(given, "SUPER") || strings.Contains(given, "SYSTEM_VARIABLES_ADMIN")) {
					seen.problem("%s: the user of --db-dba-user may change system variables", on)
				}
			}
			return nil
		})
	},
}
