// Package plugin is Temporal's SQL persistence plugin for Vitess. Importing it registers the plugin under the name
// "vitess"; a store that says pluginName: vitess in Temporal's configuration then uses it.
//
//	persistence:
//	  defaultStore: default
//	  visibilityStore: visibility
//	  datastores:
//	    default:
//	      sql:
//	        pluginName: "vitess"
//	        databaseName: "temporal"
//	        connectAddr: "vtgate:3306"
//	        connectProtocol: "tcp"
//	        connectAttributes:
//	          vitess_global_keyspace: "temporal_global"
//	    visibility:
//	      sql:
//	        pluginName: "vitess"
//	        databaseName: "temporal_visibility"
//	        ...
//
// The plugin is upstream's own "mysql8" over a connection that routes (packages conn and router beneath this one), so
// new tables and statements of a Temporal release come by themselves. What this package changes are values and calls
// that no rewriting of statements can: the range hash of a task queue's subqueues, and the listing of history branches.
//
// databaseName is the sharded keyspace of the store. All that upstream's plugin takes (TLS, passwordCommand, pools,
// connectAttributes) works; [Options] has what is added. On an unsharded keyspace or a plain MySQL 8 database, name
// that one database everywhere.
package plugin
