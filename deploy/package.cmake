# What is installed where, and the Debian package (cpack -G DEB).
install(TARGETS seks-gateway seks-vault seks-proxy seks-audit COMPONENT daemons
  RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS seks COMPONENT command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
