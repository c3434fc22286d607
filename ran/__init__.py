"""The radio side, emulated: ``ran.enb`` the eNodeB, ``ran.ue`` the UE, ``ran.station`` the node of ``epclab enb`` that joins them."""
