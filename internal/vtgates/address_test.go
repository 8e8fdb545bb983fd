package vtgates

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIPv6AddressesWithBracketsAndWithout(t *testing.T) {
	for _, test := range []struct{ address, host, port string }{
		{"vtgate:3306", "vtgate", "3306"},
		{"10.0.0.1:3306", "10.0.0.1", "3306"},
		{"[::1]:3306", "::1", "3306"},
		{"::1:3306", "::1", "3306"},
		{"2001:db8::2:3306", "2001:db8::2", "3306"},
		{"fe80::1%eth0:3306", "fe80::1%eth0", "3306"},
	} {
		host, port, err := SplitHostPort(test.address)
		require.NoError(t, err, test.address)
		require.Equal(t, []string{test.host, test.port}, []string{host, port}, test.address)
	}
	for _, address := range []string{"vtgate", "a:b:3306", "[::1]", ":::3306:"} {
		_, _, err := SplitHostPort(address)
		require.Error(t, err, address)
	}
	require.Equal(t, "::1", Host("[::1]"))
	require.Equal(t, "::1", Host("::1"))
	require.Equal(t, "vtgate", Host("vtgate"))

	c := newConnector(t, "::1:3306", "[::2]:3307")
	servers, err := c.split()
	require.NoError(t, err)
	require.Equal(t, []server{{"[::1]:3306", "::1"}, {"[::2]:3307", "::2"}}, servers)
}
